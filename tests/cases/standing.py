"""Where pass or fail is not all: features still to come, peers' notions that we do not have, answers that differ on purpose.

To switch a feature on, delete its row from ``COMING``: the words of the vocabulary that need it then run as they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Feature = Literal["return cancellation", "return exceptions", "return approval"]


@dataclass(frozen=True)
class Coming:
    """A feature of which the words are written but the system has not got it yet.

    ``announced_by`` is the message type or the path of the operators' API by which one sees that it has come. ``cases`` run already and
    are expected to give another answer until then.
    """

    feature: str
    what: str
    announced_by: str
    cases: tuple[str, ...] = ()


COMING: Mapping[Feature, Coming] = {
    "return cancellation": Coming("E1", "a return that is called off", "return.cancel_requested.v1"),
    "return exceptions": Coming("E5", "units that will not come back and are paid all the same", ""),
    "return approval": Coming("E3", "a person who judges what came back", "return.approval_requested.v1"),
}

DRAINED = frozenset({"MSI-001", "MSI-004", "MSI-011", "SOL-017"})
"""Cases whose peer empties places in their order although another has it all: here a routing rule about their SKUs says so (feature C4)."""

NOT_OURS: Mapping[str, str] = {
    "untracked": "every SKU is counted: what can be sold without limit is a SKU with enough stock, and its movements stay in the books",
}
"""Notions of a peer that no feature of ours has, and what takes their place."""

CONTRASTS: Mapping[str, str] = {
    "MSI-006": "a SKU is exactly what the merchant writes: two products may differ in case alone, and guessing would ship the wrong one",
    "MED-006": "only the increase has to be free; and the unit beyond what there is waits in the queue, because the customer has paid",
}
"""Cases in which our answer differs from the peer's on purpose, and why. The answer itself is measured."""
