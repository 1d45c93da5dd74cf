"""The planner that a recorded decision was made by: the network, the rules and the rate cards as they were then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from services.routing.current import network_of, rules_of
from services.routing.decide.guidance import Objective
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.recording import DAMAGE, NotReplayableError, damaged
from services.routing.decide.rules import RuleSet, read_rules
from services.routing.decide.tariffs import Tariffs
from services.routing.queries import locations
from services.routing.tariff_files import restore_tariffs
from services.routing.tariff_tables import RateCardError
from shared.messaging.message import Connection

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")

MOST_KEPT = 16
"""Networks, rules and sets of rate cards that are remembered; decisions of the same days stand on the same ones."""


class Footings:
    """Restores planners, each once, and with each the one that it is compared with.

    Args:
        vary: makes the other planner of a restored one.
        tariffs: tariffs that are loaded anyway.
    """

    def __init__(self, vary: Callable[[Planner], Planner] | None = None, *, tariffs: Tariffs | None = None) -> None:
        self._vary = vary
        self._networks: dict[int, Network] = {}
        self._tariffs: dict[tuple[str, int], Tariffs] = {}
        if tariffs is not None:
            self._tariffs[tariffs.version, tariffs.handling_cents] = tariffs
        self._rule_sets: dict[int, RuleSet] = {}
        self._planners: dict[tuple[Any, ...], tuple[Planner, Planner]] = {}

    async def planners_of(self, connection: Connection, record: Mapping[str, Any]) -> tuple[Planner, Planner]:
        """The planner as it was, and the varied one (the same where nothing is varied).

        Raises:
            NotReplayableError: the record does not name what it stood on, or that is not kept.
        """
        try:
            figures = (record["objective"], _whole(record["pick_cents"]), _whole(record["split_cents"]))
            capacity_cents = _whole(record.get("capacity_cents", 0))
            rules = _whole(record["rules"]["version"]) if "rules" in record else 0
            stood_on = (_whole(record["network"]), str(record["rate_cards"]), _whole(record["handling_cents"]))
        except DAMAGE as error:
            raise damaged(error) from error
        if figures[0] not in get_args(Objective):
            raise NotReplayableError(f"its record is damaged (there is no objective {figures[0]!r})")
        key = (*stood_on, rules, capacity_cents, *figures)
        if key not in self._planners:
            network = await self._network(connection, stood_on[0])
            tariffs = await self._rate_cards(connection, *stood_on[1:])
            # Locations may be other ones under the same code from one network to the next.
            rule_set = (await self._rules(connection, rules)).for_another_network()
            planner = Planner(network, tariffs, *figures, rule_set, capacity_cents)
            _remember(self._planners, key, (planner, planner if self._vary is None else self._vary(planner)))
        return self._planners[key]

    async def _network(self, connection: Connection, version: int) -> Network:
        if version not in self._networks:
            if not await locations.is_kept(connection, version):
                raise NotReplayableError(f"version {version} of the locations is not kept")
            _remember(self._networks, version, network_of(await locations.read_locations_of(connection, version), version))
        return self._networks[version]

    async def _rules(self, connection: Connection, version: int) -> RuleSet:
        if version not in self._rule_sets:
            written = await rules_of(connection, version)
            if written is None:
                raise NotReplayableError(f"version {version} of the rules is not kept")
            _remember(self._rule_sets, version, read_rules(version, written))
        return self._rule_sets[version]

    async def _rate_cards(self, connection: Connection, version: str, handling_cents: int) -> Tariffs:
        key = (version, handling_cents)
        if key not in self._tariffs:
            files = await locations.read_rate_cards(connection, version)
            if files is None:
                raise NotReplayableError(f"rate cards {version} are not kept")
            try:
                tariffs = restore_tariffs(files, handling_cents=handling_cents)
            except RateCardError as error:
                raise NotReplayableError(f"rate cards {version} cannot be read any more: {error}") from error
            if tariffs.version != version:
                raise NotReplayableError(f"rate cards {version} are kept with other files, those of {tariffs.version}")
            _remember(self._tariffs, key, tariffs)
        return self._tariffs[key]


def _whole(figure: Any) -> int:
    """A number that a database takes."""
    if not isinstance(figure, int) or not 0 <= figure < 1 << 31:
        raise TypeError(f"{figure!r} is no whole number from 0 on")
    return figure


def _remember(known: dict[KeyT, ValueT], key: KeyT, value: ValueT) -> None:
    if len(known) >= MOST_KEPT:
        del known[next(iter(known))]
    known[key] = value
