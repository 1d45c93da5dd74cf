"""The planner that a recorded decision was made by: the network, the rules and the rate cards as they were then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from services.routing.current import network_of, rule_set_of
from services.routing.decide.network import Network
from services.routing.decide.planner import Planner
from services.routing.decide.recording import NotReplayableError
from services.routing.decide.rules import RuleSet
from services.routing.decide.tariffs import Tariffs
from services.routing.queries import locations
from services.routing.tariff_files import restore_tariffs
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
        if "network" not in record:
            raise NotReplayableError("it was recorded by a version that did not record the network")
        figures = (record["objective"], record["pick_cents"], record["split_cents"])
        capacity_cents = record.get("capacity_cents", 0)
        rules = record["rules"]["version"] if "rules" in record else 0
        key = (record["network"], record["rate_cards"], record["handling_cents"], rules, capacity_cents, *figures)
        if key not in self._planners:
            network = await self._network(connection, record["network"])
            tariffs = await self._rate_cards(connection, record["rate_cards"], record["handling_cents"])
            # Locations may be other ones under the same code from one network to the next.
            rule_set = (await self._rules(connection, rules)).for_another_network()
            planner = Planner(network, tariffs, *figures, rule_set, capacity_cents)
            _remember(self._planners, key, (planner, planner if self._vary is None else self._vary(planner)))
        return self._planners[key]

    async def _network(self, connection: Connection, version: int) -> Network:
        if version not in self._networks:
            _remember(self._networks, version, network_of(await locations.read_locations_of(connection, version), version))
        return self._networks[version]

    async def _rules(self, connection: Connection, version: int) -> RuleSet:
        if version not in self._rule_sets:
            _remember(self._rule_sets, version, await rule_set_of(connection, version))
        return self._rule_sets[version]

    async def _rate_cards(self, connection: Connection, version: str, handling_cents: int) -> Tariffs:
        key = (version, handling_cents)
        if key not in self._tariffs:
            files = await locations.read_rate_cards(connection, version)
            if files is None:
                raise NotReplayableError(f"rate cards {version} are not kept")
            _remember(self._tariffs, key, restore_tariffs(files, handling_cents=handling_cents))
        return self._tariffs[key]


def _remember(known: dict[KeyT, ValueT], key: KeyT, value: ValueT) -> None:
    if len(known) >= MOST_KEPT:
        del known[next(iter(known))]
    known[key] = value
