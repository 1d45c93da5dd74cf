"""Counts as CSV over HTTP on a real database: preview, errors by row, and applying what was previewed and nothing else."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from services.allocation.__main__ import SERVICE
from services.allocation.handlers import uploading
from services.allocation.handlers.uploading import apply_uploads, forget_uploads
from shared.config import Settings
from shared.database import open_pool
from shared.http import build_application
from shared.messaging.batching import Surroundings
from shared.messaging.message import Outgoing, Transaction
from shared.running import Environment
from shared.telemetry import Metrics
from tests.allocation.conftest import Desk
from tests.allocation.messages import NOW, adjustment, at, line, location, order, products, receipt, received, snapshot
from tests.conftest import Databases

TOKEN = "only-for-this-test"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Counter:
    """Where counts are handed in: the service's HTTP side, and a desk beside it."""

    client: Any
    desk: Desk
    clock: list[datetime]

    async def upload(self, *lines: str, header: str = "sku,location,on_hand", encoding: str = "utf-8") -> dict[str, Any]:
        """Uploads a file that is read; returns its preview."""
        return await self.send("\n".join([header, *lines]).encode(encoding))

    async def send(self, content: bytes, status: int = 201) -> dict[str, Any]:
        answer = await self.client.post("/count-uploads?file_name=counts.csv&operator=kim", data=content, headers=AUTHORISED)
        assert answer.status == status, await answer.text()
        document: dict[str, Any] = await answer.json()
        return document

    async def rows(self, upload: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
        answer = await self.client.get(f"/count-uploads/{upload['upload_id']}/rows{query}", headers=AUTHORISED)
        assert answer.status == 200
        found: list[dict[str, Any]] = (await answer.json())["rows"]
        return found

    async def apply(self, upload: dict[str, Any], rows: str = "valid", **more: str) -> tuple[int, dict[str, Any]]:
        wanted = {"rows": rows, "reason": "cycle count", "operator": "kim", **more}
        answer = await self.client.post(f"/count-uploads/{upload['upload_id']}/apply", json=wanted, headers=AUTHORISED)
        return answer.status, await answer.json()

    async def run(self, work: Any) -> list[Outgoing]:
        """A schedule's turn."""
        async with self.desk.connection.transaction():
            return list(await work(Transaction(self.desk.connection, self.clock[0])))


@pytest.fixture
async def counter(desk: Desk, databases: Databases) -> AsyncIterator[Counter]:
    """Mugs and cups in the east, ten of each since long ago."""
    config = Settings(database_url=databases.url("allocation"), amqp_url="amqp://unused", operator_token=TOKEN)
    pool = await open_pool(config.database_url, application_name="test", size=4, command_timeout_seconds=30)
    clock = [NOW]
    around = Surroundings("allocation", pool, config, Metrics("allocation"), lambda: clock[0], lambda: None)
    await desk.hear(products("MUG", "CUP"))
    await desk.hear(location("east"), location("west"))
    await desk.hear(received(receipt(10), time=at(-60)), received(receipt(10, "CUP"), time=at(-60)))

    async def well() -> dict[str, str]:
        return {}

    async with aiohttp.ClientSession() as session:
        application = build_application(Environment(around, session, {}), SERVICE.routes, live=well, ready=well)
        async with TestClient(TestServer(application)) as client:
            yield Counter(client, desk, clock)
    await pool.close()


async def test_an_upload_shows_old_new_and_difference_and_changes_nothing(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,12", "CUP,east,10", "MUG,west,3")
    assert (preview["status"], preview["rows"], preview["changed_rows"], preview["same_rows"]) == ("ready", 3, 2, 1)
    rows = await counter.rows(preview)
    assert [(row["row"], row["old_on_hand"], row["on_hand"], row["difference"], row["status"]) for row in rows] == [
        (2, 10, 12, 2, "changed"),
        (3, 10, 10, 0, "same"),
        (4, 0, 3, 3, "changed"),
    ]
    assert await counter.desk.available() == 10


async def test_each_wrong_row_names_its_number_column_problem_and_remedy(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,12", "GHOST,east,1", "MUG,nowhere,1", "CUP,east,-1", "CUP,east,1.5", "", ",east,2")
    assert (preview["invalid_rows"], preview["changed_rows"]) == (5, 1)
    wrong = await counter.rows(preview, "?status=invalid")
    assert [(row["row"], row["column"], row["problem"]) for row in wrong] == [
        (3, "sku", "GHOST is not registered"),
        (4, "location", "nowhere is not registered"),
        (5, "on_hand", "'-1' is negative"),
        (6, "on_hand", "'1.5' is no whole number"),
        (8, "sku", "is empty"),
    ]
    assert all(row["remedy"] for row in wrong)


async def test_a_shelf_that_stands_twice_in_a_file_is_wrong_in_both_places(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,12", "CUP,east,9", "MUG,east,13", "MUG,east,14")
    wrong = await counter.rows(preview, "?status=invalid")
    assert [(row["row"], row["problem"]) for row in wrong] == [
        (2, "stands in row 4 too"),
        (4, "stands in row 2 too"),
        (5, "stands in row 2 too"),
    ]
    assert (await counter.apply(preview))[1]["applied_rows"] == 1
    assert (await counter.desk.available(), await counter.desk.available("CUP")) == (10, 9)


async def test_applying_sets_the_shelves_with_reason_and_operator_and_serves_the_queue(counter: Counter) -> None:
    waiting = order(line(12))
    await counter.desk.hear(waiting)
    preview = await counter.upload("MUG,east,13", "CUP,east,7")
    status, done = await counter.apply(preview)
    assert (status, done["status"], done["applied_rows"], done["reason"]) == (200, "applied", 2, "cycle count")
    assert await counter.desk.line(waiting.order_id) == {"units": 12, "reserved": 12}
    assert (await counter.desk.available(), await counter.desk.available("CUP")) == (1, 7)
    made = await counter.desk.connection.fetch("SELECT sku, old_on_hand, new_on_hand, reason, author FROM adjustments ORDER BY sku")
    assert [tuple(row.values()) for row in made] == [("CUP", 10, 7, "cycle count", "kim"), ("MUG", 10, 13, "cycle count", "kim")]
    said = await counter.desk.connection.fetch("SELECT type FROM outbox ORDER BY type")
    assert [row["type"] for row in said] == ["stock.availability_changed.v1", "stock.reserved.v1"]


async def test_applying_twice_is_applying_once(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,13")
    await counter.apply(preview)
    await counter.desk.hear(adjustment(20))
    status, done = await counter.apply(preview)
    assert (status, done["status"], done["applied_rows"]) == (200, "applied", 1)
    assert await counter.desk.available() == 20


async def test_a_shelf_that_moved_since_the_preview_is_left_alone_and_reported(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,13", "CUP,east,7")
    await counter.desk.hear(snapshot(9, as_of=at(1)))
    done = (await counter.apply(preview))[1]
    assert (done["applied_rows"], done["moved_rows"]) == (1, 1)
    (moved,) = await counter.rows(preview, "?status=moved")
    assert (moved["row"], moved["problem"]) == (2, "10 were on hand in the preview, 9 are now")
    assert "upload the file anew" in moved["remedy"]
    assert (await counter.desk.available(), await counter.desk.available("CUP")) == (9, 7)


async def test_all_or_nothing_applies_nothing_when_a_row_is_invalid(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,13", "GHOST,east,7")
    status, refused = await counter.apply(preview, "all")
    assert (status, refused["error"]["code"]) == (409, "invalid_rows")
    assert "apply the valid rows only" in refused["error"]["problems"][0]["remedy"]
    assert await counter.desk.available() == 10
    assert (await counter.apply(preview))[1]["applied_rows"] == 1


async def test_all_or_nothing_applies_nothing_when_one_shelf_has_moved(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,13", "CUP,east,7")
    await counter.desk.hear(snapshot(9, as_of=at(1)))
    status, refused = await counter.apply(preview, "all")
    assert (status, refused["error"]["code"]) == (409, "stock_moved")
    assert (await counter.desk.available(), await counter.desk.available("CUP")) == (9, 10)
    assert (await counter.rows(preview, "?status=moved"))[0]["sku"] == "MUG"
    assert (await counter.apply(preview))[0] == 409, "what was refused stays refused: it was decided on old numbers"


async def test_all_or_nothing_has_a_limit_that_is_told(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "MOST_ROWS_AT_ONCE", 1)
    preview = await counter.upload("MUG,east,13", "CUP,east,7")
    status, refused = await counter.apply(preview, "all")
    assert (status, refused["error"]["code"]) == (409, "too_many_rows")
    assert "split the file" in refused["error"]["message"]


async def test_damaged_and_quality_control_are_set_where_they_are_given(counter: Counter) -> None:
    await counter.desk.hear(snapshot(10, damaged=2, as_of=at(-5)))
    preview = await counter.upload("MUG,east,12,1,3", "CUP,east,9,,", header="sku,location,on_hand,damaged,quality_control")
    await counter.apply(preview)
    shelf = await counter.desk.shelf()
    assert (shelf["on_shelf"], shelf["damaged"], shelf["quality_control"]) == (8, 1, 3)
    assert (await counter.desk.shelf(sku="CUP"))["on_shelf"] == 9
    preview = await counter.upload("MUG,east,2,2", header="sku,location,on_hand,damaged")
    (wrong,) = await counter.rows(preview)
    assert wrong["problem"] == "2 is less than what is damaged or in quality control there"


async def test_a_large_file_is_applied_in_portions_that_go_on_by_themselves(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "CHUNK_ROWS", 2)
    skus = [f"S{number:02}" for number in range(11)]
    await counter.desk.hear(products(*skus))
    preview = await counter.upload(*(f"{sku},east,5" for sku in skus))
    status, begun = await counter.apply(preview)
    assert (status, begun["status"], begun["applied_rows"], begun["changed_rows"]) == (202, "applying", 8, 3)
    await counter.run(apply_uploads)
    await counter.run(apply_uploads)
    assert await counter.run(apply_uploads) == []
    status, done = await counter.apply(preview)
    assert (status, done["status"], done["applied_rows"]) == (200, "applied", 11)
    assert await counter.desk.connection.fetchval("SELECT count(*) FROM stock_pools WHERE available = 5") == 11


async def test_a_mixed_up_file_from_a_spreadsheet_is_read(counter: Counter) -> None:
    await counter.desk.hear(products("CAFÉ", "TÉLÉ"))
    content = "\ufeffSKU;Location;Quantity\r\n".encode() + "CAFÉ;east;4\r\n".encode("cp1252") + "TÉLÉ;east;5\r\n".encode()
    preview = await counter.send(content)
    assert (preview["changed_rows"], preview["delimiter"], preview["encoding"]) == (2, ";", "utf-8 and windows-1252")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"MUG,east,5\n", "names no column sku"),
        (b'sku,location,on_hand\nMUG,east,1\n"CUP,east,2\n', "line 3 and those after it cannot be read"),
        ("sku,location,on_hand\nMUG,east,1\n".encode("utf-16"), "UTF-16"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_whole_with_the_way_out(counter: Counter, content: bytes, problem: str) -> None:
    refused = await counter.send(content, 422)
    assert refused["status"] == "refused"
    assert problem in refused["problem"]
    assert refused["remedy"]
    assert refused["rows"] == 0
    status, answer = await counter.apply(refused)
    assert (status, answer["error"]["code"]) == (409, "upload_refused")


async def test_the_report_is_a_csv_with_every_row_and_what_became_of_it(counter: Counter) -> None:
    await counter.desk.hear(products("=2+3"))
    preview = await counter.upload("MUG,east,13", "GHOST,east,7", "=2+3,east,1", "CUP,east,10")
    await counter.apply(preview)
    answer = await counter.client.get(f"/count-uploads/{preview['upload_id']}/report.csv", headers=AUTHORISED)
    assert answer.status == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    report = list(csv.DictReader(io.StringIO((await answer.read()).decode("utf-8-sig"))))
    assert [(row["row"], row["sku"], row["difference"], row["result"], row["problem"]) for row in report] == [
        ("2", "MUG", "3", "applied", ""),
        ("3", "GHOST", "", "invalid", "GHOST is not registered"),
        ("4", "'=2+3", "1", "applied", ""),
        ("5", "CUP", "0", "same", ""),
    ]


async def test_uploads_are_forgotten_when_their_time_is_over(counter: Counter) -> None:
    preview, applied = await counter.upload("MUG,east,13"), await counter.upload("CUP,east,13")
    await counter.apply(applied)
    counter.clock[0] = NOW + timedelta(hours=25)
    await counter.run(forget_uploads)
    await counter.run(forget_uploads)
    assert (await counter.apply(preview))[0] == 404
    assert (await counter.client.get(f"/count-uploads/{applied['upload_id']}", headers=AUTHORISED)).status == 200
    assert [row["file_name"] for row in (await (await counter.client.get("/count-uploads", headers=AUTHORISED)).json())["uploads"]] == [
        "counts.csv"
    ]
    assert await counter.desk.connection.fetchval("SELECT count(*) FROM count_upload_rows") == 1


async def test_nobody_uploads_reads_or_applies_without_the_token(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,13")
    for method, path in (("POST", ""), ("GET", ""), ("GET", f"/{preview['upload_id']}/rows"), ("POST", f"/{preview['upload_id']}/apply")):
        answer = await counter.client.request(method, f"/count-uploads{path}", headers={"Authorization": "Bearer wrong"})
        assert answer.status == 401


@pytest.mark.parametrize("path", ["/count-uploads/17", "/count-uploads/17/rows", "/count-uploads/17/report.csv"])
async def test_an_upload_that_does_not_exist_is_told_so(counter: Counter, path: str) -> None:
    answer = await counter.client.get(path, headers=AUTHORISED)
    assert (answer.status, (await answer.json())["error"]["code"]) == (404, "unknown_upload")


async def test_what_is_to_be_applied_must_be_said_with_a_reason(counter: Counter) -> None:
    preview = await counter.upload("MUG,east,13")
    answer = await counter.client.post(f"/count-uploads/{preview['upload_id']}/apply", json={"rows": "some"}, headers=AUTHORISED)
    assert answer.status == 422
    fields = {problem["field"] for problem in (await answer.json())["error"]["problems"]}
    assert fields == {"rows", "reason"}
    assert await counter.desk.available() == 10
