"""The continuous auditor beside a working service: no false findings, shared work, decisions of operators, old losses, late entries."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.allocation.findings_pages import measure
from services.allocation.handlers import auditing
from services.allocation.handlers.auditing import CONFIRMATION_PAUSE, LATENESS, RECOUNT_PAUSE, audit_some, first_id_of
from services.allocation.queries.auditing import claim_duties
from shared.contracts.base import Message
from shared.contracts.envelope import new_id
from shared.contracts.stock import (
    StockBackordered,
    StockFindingDecided,
    StockFindingDismissalRequested,
    StockFindingRefused,
)
from shared.database import open_pool
from shared.messaging.message import Received, Transaction
from tests.allocation.auditor import agreement, apply_all, cycles, findings, look, look_at_everything
from tests.allocation.conftest import HANDLERS, Desk, violations
from tests.allocation.messages import (
    adjustment,
    at,
    called_off,
    cancellation,
    edit,
    inspected,
    line,
    location,
    order,
    plan,
    planned,
    products,
    receipt,
    received,
    shipped,
    snapshot,
    units,
)
from tests.allocation.wishes import channel_rule, hold, naming, release, safety
from tests.conftest import Databases


@pytest.fixture
async def shop(desk: Desk) -> Desk:
    """Ten mugs in the east, five in the west."""
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"), location("west"))
    await desk.hear(receipt(10), receipt(5, at_location="west"))
    return desk


async def corrupt(databases: Databases, statement: str, *arguments: Any) -> None:
    """Something that no service does."""
    admin = await databases.connect_as_admin()
    await admin.execute("SET search_path = allocation")
    await admin.execute(statement, *arguments)


TAKE_ONE_OFF_THE_SHELF = "UPDATE stock_locations SET on_shelf = on_shelf - 1 WHERE sku = 'MUG' AND location = 'east'"


class TestBesideAWorkingService:
    async def test_nothing_is_found_while_everything_happens_at_once(self, desk: Desk, databases: Databases) -> None:
        """Real handlers on eight connections, two auditors on two more: what they look at is right at every instant."""
        skus = [f"SKU-{number}" for number in range(6)]
        await desk.hear(products(*skus))
        await desk.hear(location("east"), location("west"))
        await desk.hear(*(receipt(60, sku) for sku in skus), *(receipt(20, sku, at_location="west") for sku in skus))
        pool = await open_pool(databases.url("allocation"), application_name="crowd", size=10, command_timeout_seconds=60)
        chance = random.Random(5)
        done = asyncio.Event()
        looks = 0

        async def hear(*messages: Message | Received[Any]) -> None:
            batch = [message if isinstance(message, Received) else received(message) for message in messages]
            async with pool.acquire() as connection, connection.transaction():
                await HANDLERS[type(batch[0].data)](Transaction(connection, desk.now), batch)

        async def audit() -> None:
            nonlocal looks
            while not done.is_set():
                with suppress(asyncpg.SerializationError):  # both came upon the same row; the runtime looks again in a second
                    async with pool.acquire() as connection, connection.transaction():
                        await audit_some(Transaction(connection, desk.now + timedelta(seconds=looks)))
                    looks += 1

        async def story() -> None:
            for _ in range(3):
                kept = hold(*((sku, chance.randint(1, 3)) for sku in chance.sample(skus, 2)), channel=chance.choice(["web", "market"]))
                await hear(kept)
                await hear(
                    chance.choice([release(kept), naming(kept, *(line(1, asked.sku, str(at)) for at, asked in enumerate(kept.lines)))])
                )
                own = order(*(line(chance.randint(1, 3), sku, str(number)) for number, sku in enumerate(chance.sample(skus, 3))))
                await hear(own)
                part = chance.choice(own.lines)
                parcel = planned(chance.choice(["east", "west"]), units(part.quantity, part.line_id, part.sku))
                await hear(plan(own, parcel))
                acts: list[Message | Received[Any]] = [
                    shipped(own, parcel),
                    called_off(own, parcel, missing=parcel.lines),
                    edit(own, own.lines[0]),
                    cancellation(own, version=3),
                    receipt(2, part.sku),
                    safety(chance.randint(0, 5), sku=part.sku),
                    safety(chance.randint(0, 5), sku=part.sku, location="east"),
                    channel_rule(
                        chance.choice(["web", "market"]), fence=chance.choice([None, 3]), cap=chance.choice([None, 9]), sku=part.sku
                    ),
                    adjustment(chance.randint(20, 60), sku=part.sku),
                    snapshot(chance.randint(20, 60), sku=part.sku, as_of=at(chance.random())),
                    inspected(own, (1, "restocked"), (1, "damaged"), sku=part.sku),
                ]
                for act in chance.sample(acts, 5):
                    await hear(act)

        auditors = [asyncio.create_task(audit()) for _ in range(2)]
        await asyncio.gather(*(story() for _ in range(8)))
        done.set()
        await asyncio.gather(*auditors)
        assert looks > 20
        assert await desk.connection.fetchval("SELECT count(*) FROM audit_findings") == 0
        assert await look_at_everything(desk) == []
        await pool.close()

    async def test_two_auditors_at_once_share_the_duties(self, shop: Desk, databases: Databases) -> None:
        await look(shop.connection, shop)
        other = await databases.connect("allocation")
        async with shop.connection.transaction(), other.transaction():
            mine = await claim_duties(shop.connection, auditing.DUTIES, shop.now, 3)
            theirs = await claim_duties(other, auditing.DUTIES, shop.now, 6)
        assert len(mine) == 3
        assert {row["duty"] for row in mine} | {row["duty"] for row in theirs} == set(auditing.DUTIES)
        assert {row["duty"] for row in mine} & {row["duty"] for row in theirs} == set()

    async def test_two_auditors_that_look_together_both_bring_the_round_forward(self, shop: Desk, databases: Databases) -> None:
        await look(shop.connection, shop)
        others = [await databases.connect("allocation") for _ in range(2)]
        for connection in others:
            transaction = connection.transaction()
            await transaction.start()
            assert await audit_some(Transaction(connection, shop.now)) == ()
        looked = await shop.connection.fetch("SELECT duty FROM audit_duties ORDER BY duty FOR UPDATE SKIP LOCKED")
        # The first took the ledger and one duty, the second another one.
        assert len(looked) == len(auditing.DUTIES) - 3

    async def test_an_auditor_locks_no_row_of_the_books(self, shop: Desk, databases: Databases) -> None:
        other = await databases.connect("allocation")
        async with other.transaction():
            await audit_some(Transaction(other, shop.now))
            await shop.connection.execute("SET lock_timeout = '200ms'")
            await shop.hear(order(line(2)))
            await shop.hear(adjustment(20))


class TestNaming:
    async def test_a_change_by_hand_is_named_between_the_entries_around_it_even_if_nobody_looked(
        self, shop: Desk, databases: Databases
    ) -> None:
        before = await shop.connection.fetchval("SELECT movement_id FROM movements WHERE location = 'east' AND kind = 'received'")
        shop.audited = False
        await corrupt(databases, TAKE_ONE_OFF_THE_SHELF)
        await shop.hear(receipt(2))
        after = await shop.connection.fetchval("SELECT movement_id FROM movements WHERE location = 'east' AND quantity = 2")
        await shop.hear(receipt(4))
        (found,) = await look_at_everything(shop)
        assert (found["after_entry_id"], found["before_entry_id"]) == (before, after)
        assert found["after_at"] < found["before_at"]
        await apply_all(shop)
        assert await violations(shop.connection) == []

    async def test_the_event_of_a_wrong_entry_is_named_with_its_type(self, shop: Desk, databases: Databases) -> None:
        placed = received(order(line(3)))
        await shop.hear(placed)
        await corrupt(
            databases,
            "INSERT INTO inbox (event_id, source, type, status, received_at) VALUES ($1, 'ordermesh/sync', $2, 'done', now())",
            placed.event_id,
            "order.placed.v1",
        )
        await corrupt(databases, "UPDATE movements SET quantity = 4 WHERE kind = 'reserved'")
        shop.audited = False
        (found,) = await look_at_everything(shop)
        assert (found["event_id"], found["event_type"]) == (placed.event_id, "order.placed.v1")
        await apply_all(shop)

    async def test_an_entry_lost_long_ago_is_found_by_the_recount(self, shop: Desk, databases: Databases) -> None:
        await shop.hear(snapshot(8, as_of=at(1)))
        assert await look_at_everything(shop) == []
        await corrupt(databases, "DELETE FROM movements WHERE kind = 'adjusted'")
        shop.audited = False
        assert await look_at_everything(shop) == []
        shop.now += RECOUNT_PAUSE
        for _ in range(3):
            await look_at_everything(shop)
        (found,) = await findings(shop.connection)
        assert (found["culprit"], found["found"], found["expected"]) == ("entry_missing", 8, 10)
        await apply_all(shop)
        assert await violations(shop.connection) == []

    async def test_the_ledger_adds_up_however_small_a_page_is(self, shop: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(auditing, "ENTRIES_PER_PAGE", 2)
        monkeypatch.setattr(auditing, "PAGES_PER_LOOK", 2)
        for number in range(8):
            await shop.hear(order(line(1)), order(line(1, "CUP")))
            if number % 2:
                await shop.hear(receipt(1, "CUP"))
            await look(shop.connection, shop)
        for _ in range(12):
            await look_at_everything(shop)
        summed = await shop.connection.fetch(
            "SELECT sku, sum(reserved) AS reserved, sum(on_shelf) AS on_shelf FROM audit_sums "
            "WHERE round = (SELECT round FROM audit_duties WHERE duty = 'ledger') GROUP BY sku ORDER BY sku"
        )
        assert [tuple(row) for row in summed] == [("CUP", 4, 4), ("MUG", 8, 15)]
        assert await findings(shop.connection) == []

    async def test_an_entry_that_comes_later_than_any_should_raises_no_finding(self, shop: Desk) -> None:
        """By a clock that lags an hour: the sums miss it, the closer look does not, and the sums are put right."""
        assert await look_at_everything(shop) == []
        late = first_id_of(shop.now - timedelta(hours=1))
        async with shop.connection.transaction():
            await shop.connection.execute(
                """
                INSERT INTO movements (movement_id, kind, quantity, sku, location, happened_at, pool_version, on_shelf_after)
                VALUES ($1, 'adjusted', 3, 'MUG', 'east', now(), 9, 13)
                """,
                late,
            )
            await shop.connection.execute("UPDATE stock_locations SET on_shelf = 13 WHERE sku = 'MUG' AND location = 'east'")
            await shop.connection.execute("UPDATE stock_pools SET sellable = 18, version = 9, assignable[1] = 13 WHERE sku = 'MUG'")
        assert timedelta(hours=1) > LATENESS
        assert await look_at_everything(shop) == []
        summed = await shop.connection.fetchval("SELECT on_shelf FROM audit_sums WHERE sku = 'MUG' AND location = 'east'")
        assert summed == 13


class TestDecisions:
    async def _found(self, shop: Desk, databases: Databases) -> Any:
        await corrupt(databases, TAKE_ONE_OFF_THE_SHELF)
        shop.audited = False
        (found,) = await look_at_everything(shop)
        return found

    async def test_a_finding_that_heals_by_itself_vanishes(self, shop: Desk, databases: Databases) -> None:
        found = await self._found(shop, databases)
        await corrupt(databases, TAKE_ONE_OFF_THE_SHELF.replace("- 1", "+ 1"))
        shop.now += CONFIRMATION_PAUSE
        await look(shop.connection, shop)
        (closed,) = await findings(shop.connection, "vanished")
        assert (closed["finding_id"], closed["closed_at"]) == (found["finding_id"], shop.now)
        refusal = (await shop.hear(agreement(found))).one(StockFindingRefused)
        assert refusal.reason == "vanished"

    async def test_healed_but_not_looked_at_again_it_vanishes_when_somebody_agrees(self, shop: Desk, databases: Databases) -> None:
        found = await self._found(shop, databases)
        await corrupt(databases, TAKE_ONE_OFF_THE_SHELF.replace("- 1", "+ 1"))
        assert (await shop.hear(agreement(found))).one(StockFindingRefused).reason == "vanished"
        assert len(await findings(shop.connection, "vanished")) == 1

    async def test_a_finding_is_one_however_often_it_is_looked_at(self, shop: Desk, databases: Databases) -> None:
        found = await self._found(shop, databases)
        for _ in range(3):
            shop.now += CONFIRMATION_PAUSE
            await look_at_everything(shop)
        (same,) = await findings(shop.connection)
        assert (same["finding_id"], same["found_at"]) == (found["finding_id"], found["found_at"])
        assert same["confirmed_at"] > found["confirmed_at"]
        await apply_all(shop)

    async def test_a_ledger_that_was_read_a_moment_ago_is_not_read_again(self, shop: Desk, databases: Databases) -> None:
        """However many looks come upon the SKU meanwhile: reading a ledger from end to end costs as much as it is long."""
        found = await self._found(shop, databases)
        shop.now += CONFIRMATION_PAUSE / 2
        await look_at_everything(shop)
        (same,) = await findings(shop.connection)
        assert same["confirmed_at"] == found["confirmed_at"]
        shop.now += CONFIRMATION_PAUSE / 2
        await look_at_everything(shop)
        (same,) = await findings(shop.connection)
        assert same["confirmed_at"] > found["confirmed_at"]
        await apply_all(shop)

    async def test_whoever_was_shown_other_figures_changes_nothing(self, shop: Desk, databases: Databases) -> None:
        found = await self._found(shop, databases)
        await corrupt(databases, TAKE_ONE_OFF_THE_SHELF)
        refusal = (await shop.hear(agreement(found))).one(StockFindingRefused)
        assert refusal.reason == "stale_expectation"
        assert "8 now" in refusal.detail
        assert (await shop.shelf())["on_shelf"] == 8
        shop.now += CONFIRMATION_PAUSE
        await look(shop.connection, shop)
        await apply_all(shop)
        assert (await shop.shelf())["on_shelf"] == 10

    async def test_a_decision_told_twice_is_taken_once_and_a_second_one_is_refused(self, shop: Desk, databases: Databases) -> None:
        found = await self._found(shop, databases)
        wanted = agreement(found)
        first = (await shop.hear(wanted)).one(StockFindingDecided)
        again = (await shop.hear(wanted)).one(StockFindingDecided)
        assert first == again
        other = (await shop.hear(agreement(found))).one(StockFindingRefused)
        assert (other.reason, "kim has decided already" in other.detail) == ("already_closed", True)
        kept = await shop.connection.fetch("SELECT operator, reason, decision, found FROM audit_decisions")
        assert [tuple(row) for row in kept] == [("kim", "checked against the delivery note", "applied", 9)]

    async def test_a_finding_that_does_not_exist_is_refused(self, shop: Desk) -> None:
        wanted = agreement({"finding_id": new_id(), "found": 1})  # type: ignore[arg-type]  # as good as a row
        assert (await shop.hear(wanted)).one(StockFindingRefused).reason == "unknown_finding"

    async def test_what_was_dismissed_comes_back_only_with_other_figures(self, shop: Desk, databases: Databases) -> None:
        found = await self._found(shop, databases)
        dismissal = StockFindingDismissalRequested.model_validate(agreement(found, reason="known, counted tonight").model_dump())
        assert (await shop.hear(dismissal)).one(StockFindingDecided).status == "dismissed"
        shop.now += CONFIRMATION_PAUSE
        assert await look_at_everything(shop) == []
        await corrupt(databases, TAKE_ONE_OFF_THE_SHELF)
        (new,) = await look_at_everything(shop)
        assert (new["found"], new["expected"]) == (8, 10)
        await apply_all(shop)

    async def test_the_ledger_of_decisions_is_append_only(self, shop: Desk, databases: Databases) -> None:
        await self._found(shop, databases)
        await apply_all(shop)
        for statement in ("UPDATE audit_decisions SET operator = 'nobody'", "DELETE FROM audit_decisions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await shop.connection.execute(statement)

    async def test_compensations_are_marked_and_move_no_balance_but_the_ledger(self, shop: Desk, databases: Databases) -> None:
        await corrupt(databases, "DELETE FROM movements WHERE kind = 'received' AND location = 'west'")
        await corrupt(databases, "UPDATE movements SET quantity = 11 WHERE kind = 'received'")
        shop.audited = False
        await look_at_everything(shop)
        before = [tuple(row) for row in await shop.connection.fetch("SELECT * FROM stock_locations ORDER BY location")]
        await apply_all(shop)
        assert [tuple(row) for row in await shop.connection.fetch("SELECT * FROM stock_locations ORDER BY location")] == before
        marked = await shop.connection.fetch("SELECT kind::text, quantity, location FROM movements WHERE compensates IS NOT NULL")
        assert sorted(tuple(row) for row in marked) == [("adjusted", 5, "west"), ("received", -1, "east")]


class TestCompensationsThatTouchOrders:
    async def test_a_receipt_booked_twice_is_taken_back_and_whoever_came_last_waits_again(self, shop: Desk) -> None:
        """The books balance, so only the receipt tells: its units are on the shelf twice, and sold."""
        again = await self._book_again(shop, 5)
        old, new = order(line(15)), order(line(4))
        shop.audited = False
        await shop.hear(old)
        await shop.hear(new)
        (found,) = await look_at_everything(shop)
        assert (found["culprit"], found["mends"], found["entry_id"]) == ("booked_twice", "both", again)
        heard = await apply_all(shop)
        (told,) = heard[0].of(StockBackordered)
        assert (told.order_id, told.cause, told.lines[0].quantity) == (new.order_id, "shortage", 4)
        assert (await shop.line(old.order_id))["reserved"] == 15
        pool = await shop.pool()
        assert (pool["sellable"], pool["reserved"], pool["queued"]) == (15, 15, 4)
        assert await violations(shop.connection) == []
        assert await look_at_everything(shop) == []

    async def test_what_a_count_has_corrected_meanwhile_is_not_taken_off_the_shelf_again(self, shop: Desk) -> None:
        await self._book_again(shop, 5)
        shop.audited = False
        await shop.hear(snapshot(5, at_location="west", as_of=at(9)))
        (found,) = await look_at_everything(shop)
        assert found["culprit"] == "booked_twice"
        await apply_all(shop)
        assert (await shop.shelf("west"))["on_shelf"] == 5
        assert await violations(shop.connection) == []
        assert await look_at_everything(shop) == []

    @staticmethod
    async def _book_again(shop: Desk, quantity: int) -> UUID:
        """What a handler would do that forgot to ask whether it knows the receipt."""
        connection, entry = shop.connection, new_id()
        async with connection.transaction():
            await connection.execute(
                """
                INSERT INTO movements (movement_id, kind, quantity, sku, location, cause_id, event_id, happened_at, pool_version,
                                       on_shelf_after)
                SELECT $1, kind, quantity, sku, location, cause_id, $2, happened_at, pool_version + 1, 2 * quantity
                FROM movements WHERE kind = 'received' AND location = 'west'
                """,
                entry,
                new_id(),
            )
            await connection.execute(
                "UPDATE stock_locations SET on_shelf = on_shelf + $1 WHERE sku = 'MUG' AND location = 'west'", quantity
            )
            await connection.execute(
                """
                UPDATE stock_pools SET sellable = sellable + $1, version = version + 1, assignable[2] = assignable[2] + $1
                WHERE sku = 'MUG'
                """,
                quantity,
            )
        return entry

    async def test_a_pool_that_forgot_reservations_oversells_and_is_put_right_by_queueing_again(
        self, shop: Desk, databases: Databases
    ) -> None:
        await shop.hear(order(line(10)))
        await corrupt(databases, "UPDATE stock_pools SET reserved = 0 WHERE sku = 'MUG'")
        shop.audited = False
        late = order(line(15))
        await shop.hear(late)
        (found,) = await look_at_everything(shop)
        assert (found["balance"], found["found"], found["expected"]) == ("pool.reserved", 15, 25)
        heard = await apply_all(shop)
        assert [told.cause for told in heard[0].of(StockBackordered)] == ["shortage"]
        assert (await shop.line(late.order_id)) == {"units": 15, "reserved": 5, "queued": 10}
        assert await violations(shop.connection) == []


class TestProgress:
    async def test_gauges_tell_open_findings_the_slowest_sku_and_how_many_were_examined(self, shop: Desk, databases: Databases) -> None:
        await look_at_everything(shop)
        await corrupt(databases, TAKE_ONE_OFF_THE_SHELF)
        shop.audited = False
        shop.now += timedelta(minutes=2)
        await look_at_everything(shop)
        told = {name: value for name, _, value in await measure(shop.connection, shop.now)}
        assert told["audit_open_findings"] == 1
        assert told["audit_skus_examined"] >= 4
        assert 100 <= told["audit_slowest_sku_seconds"] <= 200
        stopped = {name: value for name, _, value in await measure(shop.connection, shop.now + timedelta(hours=1))}
        assert stopped["audit_slowest_sku_seconds"] >= 3_600
        await apply_all(shop)

    async def test_old_sums_are_forgotten_and_the_rounds_go_on(self, shop: Desk) -> None:
        for _ in range(3):
            await look_at_everything(shop)
            shop.now += RECOUNT_PAUSE
        for _ in range(6):
            await look(shop.connection, shop)
        assert (await cycles(shop.connection))["recount"] >= 3
        rounds = await shop.connection.fetchval("SELECT count(DISTINCT round) FROM audit_sums")
        assert rounds <= 2
