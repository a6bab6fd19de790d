"""Payouts and statements over real HTTP and on the command line, of a city whose riders were paid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import text

from domain.riders.command_service import RiderCommandOutcome, RiderCommands
from domain.riders.commands import RiderCommand
from infrastructure.backends import Backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.http.auth import Authorizer
from infrastructure.http.errors import HANDLERS
from infrastructure.http.payouts import payout_routes
from infrastructure.http.rider_commands import RiderCommandRequests
from infrastructure.postgres.payout_reads import PayoutReads
from infrastructure.settings.settings import Settings
from tests.support.servers.http_server import served
from tests.support.servers.servers import fresh_database
from tests.support.worlds.command_line import run_here
from tests.support.worlds.paid_city import NEXT_WEEK, WEEK, PaidCity

RIDERS = 4
RIDER = "rider-0"
DESK, CHIEF = {"Authorization": "Bearer desk"}, {"Authorization": "Bearer chief"}
Cli = Callable[..., CompletedProcess[str]]


class PaidWorld(NamedTuple):
    """The log, and the entries of all riders as they are in the table."""

    backends: Backends
    url: str
    entries: list[dict[str, Any]]


@pytest.fixture(scope="module")
def world(migrated_postgres: Postgres) -> Iterator[PaidWorld]:
    with fresh_database(migrated_postgres) as url, Backends(Settings(postgres_url=url)) as backends:
        PaidCity(backends, RIDERS, 12, seed=3).live()
        with backends.engine.connect() as connection:
            entries = [row._asdict() for row in connection.execute(text("SELECT * FROM payout_entries"))]
        yield PaidWorld(backends, url, entries)


@pytest.fixture(scope="module")
def http(world: PaidWorld) -> Iterator[httpx.Client]:
    service = RiderCommands(world.backends.riders)

    async def submit(commands: Sequence[RiderCommand]) -> list[RiderCommandOutcome]:
        return service.execute(commands)

    routes = payout_routes(
        PayoutReads(world.backends.engine), RiderCommandRequests(submit, lambda _verb, _outcome: None)
    )
    guard = Authorizer({"desk": frozenset({"read"}), "chief": frozenset({"admin"})})
    application = Litestar(routes, guards=[guard], exception_handlers=HANDLERS)
    with served(application) as url, httpx.Client(base_url=url, timeout=20.0, headers=DESK) as client:
        yield client


@pytest.fixture
def cli(world: PaidWorld, tmp_path: Path) -> Cli:
    def run(*arguments: str) -> CompletedProcess[str]:
        return run_here(["statement", *arguments], {"RIDELOG_POSTGRES_URL": world.url}, tmp_path)

    return run


def got(http: httpx.Client, path: str, **query: Any) -> dict[str, Any]:
    answer = http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


def test_pages_have_every_payout_once_with_its_adjustments_and_net(http: httpx.Client, world: PaidWorld) -> None:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = got(http, "/payouts", limit=7, **({} if cursor is None else {"cursor": cursor}))
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    payouts = {row["entry_id"]: row for row in world.entries if row["kind"] == "payout"}
    assert [one["payout_id"] for one in found] == sorted(
        payouts, key=lambda entry_id: (payouts[entry_id]["ended_at"], entry_id)
    )
    for one in found:
        own = [row for row in world.entries if row["payout_id"] == one["payout_id"]]
        assert one["net_minor"] == sum(row["amount_minor"] for row in own)
        assert {each["entry_id"] for each in one["adjustments"]} == {
            row["entry_id"] for row in own if row["kind"] == "adjustment"
        }
        assert sum(item["amount_minor"] for item in one["items"]) == one["amount_minor"]
    assert any(one["adjustments"] for one in found)


def test_payouts_are_filtered(http: httpx.Client, world: PaidWorld) -> None:
    of_rider = got(http, "/payouts", rider_id=RIDER, limit=1000)["items"]
    assert {one["rider_id"] for one in of_rider} == {RIDER}
    order = of_rider[0]["order_id"]
    of_order = got(http, "/payouts", order_id=order)["items"]
    assert {(one["order_id"], one["leg"]) for one in of_order} == {(order, "to_restaurant"), (order, "to_customer")}
    middle = of_rider[len(of_rider) // 2]["ended_at_ms"]
    late = got(http, "/payouts", rider_id=RIDER, since=middle, limit=1000)["items"]
    early = got(http, "/payouts", rider_id=RIDER, until=middle, limit=1000)["items"]
    assert early + late == of_rider
    assert late[0]["ended_at_ms"] == middle
    for strange in ("\0", "nobody", "x" * 3_000):
        assert got(http, "/payouts", rider_id=strange)["items"] == []


def test_a_statement_has_every_entry_of_the_week_and_its_total(http: httpx.Client, world: PaidWorld) -> None:
    total = 0
    for period in (WEEK, NEXT_WEEK):
        document = got(http, f"/riders/{RIDER}/statement", period=period)
        (euros,) = document["currencies"]
        own = [row for row in world.entries if row["rider_id"] == RIDER and row["period"] == period]
        assert [each["seq"] for each in euros["entries"]] == sorted(row["seq"] for row in own)
        assert euros["total_minor"] == sum(row["amount_minor"] for row in own)
        assert euros["total"] == f"{euros['total_minor'] // 100}.{euros['total_minor'] % 100:02d}"
        assert (euros["currency"], euros["status"]) == ("EUR", "closed" if period == WEEK else "open")
        total += euros["total_minor"]
    assert total == sum(row["amount_minor"] for row in world.entries if row["rider_id"] == RIDER)
    (pounds,) = got(http, f"/riders/{RIDER}/statement", period=WEEK, currency="GBP")["currencies"]
    assert (pounds["total_minor"], pounds["entries"]) == (0, [])


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/riders/nobody/statement", {"period": WEEK}, 404, "unknown_rider"),
        ("/riders/%00/statement", {"period": WEEK}, 404, "unknown_rider"),
        (f"/riders/{RIDER}/statement", {"period": "2026-48"}, 400, "invalid_period"),
        (f"/riders/{RIDER}/statement", {"period": "2026-W54"}, 400, "invalid_period"),
        (f"/riders/{RIDER}/statement", {}, 400, "invalid_request"),
        (f"/riders/{RIDER}/statement", {"period": WEEK, "currency": "EURO"}, 400, "invalid_currency"),
        ("/payouts", {"limit": 0}, 400, "invalid_limit"),
        ("/payouts", {"cursor": "x"}, 400, "invalid_cursor"),
        ("/payouts", {"since": "yesterday"}, 400, "invalid_time"),
    ],
)
def test_wrong_requests_are_named(http: httpx.Client, path: str, query: dict[str, Any], status: int, code: str) -> None:
    answer = http.get(path, params=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_week_is_closed_over_http_by_an_admin_once(http: httpx.Client, world: PaidWorld) -> None:
    path = "/riders/rider-3/statement"
    body = {"period": "2026-W40", "currency": "EUR", "by": "ruth"}
    assert http.post(path, json=body).json()["code"] == "forbidden"
    done = http.post(path, json=body, headers=CHIEF)
    assert done.status_code == 200, done.text
    closed = done.json()
    assert closed.pop("position") > 0
    assert closed == {"rider_id": "rider-3", "period": "2026-W40", "currency": "EUR", "recorded": True}
    again = http.post(path, json=body, headers=CHIEF)
    assert (again.status_code, again.json()["code"]) == (409, "statement_closed")
    future = http.post(path, json=body | {"period": "2099-W01"}, headers=CHIEF)
    assert (future.status_code, future.json()["code"]) == (409, "period_open")
    unknown = http.post("/riders/nobody/statement", json=body, headers=CHIEF)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_rider")
    for wrong, code in (
        ({"period": "w"}, "invalid_period"),
        ({"currency": "X"}, "invalid_currency"),
        ({"by": 1}, "invalid_type"),
    ):
        answer = http.post(path, json=body | wrong, headers=CHIEF)
        assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_statement_is_printed_with_its_items_and_verified(cli: Cli, world: PaidWorld) -> None:
    done = cli(RIDER, "--period", WEEK, "--verify")
    assert done.returncode == 0, done.stderr
    own = [row for row in world.entries if row["rider_id"] == RIDER and row["period"] == WEEK]
    total = sum(row["amount_minor"] for row in own)
    assert f"EUR {total // 100}.{total % 100:02d}" in done.stdout
    for row in own:
        assert row["entry_id"] in done.stdout
        for item in json.loads(row["items"]):
            assert item["events"]["first"] is None or item["events"]["first"] in done.stdout
    assert re.search(r"verified: every entry equals the one computed from [\d,]+ events of the log", done.stdout)


def test_a_statement_that_differs_from_the_log_is_an_error(cli: Cli, world: PaidWorld) -> None:
    own = [row for row in world.entries if row["rider_id"] == RIDER and row["period"] == NEXT_WEEK]
    change = text("UPDATE payout_entries SET amount_minor = amount_minor + :cents WHERE entry_id = :entry_id")
    entry_id = own[0]["entry_id"]
    with world.backends.sink_engine.begin() as connection:
        connection.execute(change, {"cents": 1, "entry_id": entry_id})
    try:
        done = cli(RIDER, "--period", NEXT_WEEK, "--verify")
        as_json = cli(RIDER, "--period", NEXT_WEEK, "--verify", "--json")
    finally:
        with world.backends.sink_engine.begin() as connection:
            connection.execute(change, {"cents": -1, "entry_id": entry_id})
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"error: 1 entries of {NEXT_WEEK} of {RIDER} differ from the log")
    assert f"entry {entry_id} differs in amount_minor" in done.stdout
    assert as_json.returncode == 1
    assert len(json.loads(as_json.stdout)["differences"]) == 1
    assert cli(RIDER, "--period", NEXT_WEEK, "--verify").returncode == 0


def test_a_lost_entry_and_an_invented_one_are_found(cli: Cli, world: PaidWorld) -> None:
    own = [row for row in world.entries if row["rider_id"] == RIDER and row["period"] == WEEK]
    rename = text("UPDATE payout_entries SET entry_id = :new WHERE entry_id = :old")
    with world.backends.sink_engine.begin() as connection:
        connection.execute(rename, {"new": "invented", "old": own[0]["entry_id"]})
    try:
        done = cli(RIDER, "--period", WEEK, "--verify")
    finally:
        with world.backends.sink_engine.begin() as connection:
            connection.execute(rename, {"new": own[0]["entry_id"], "old": "invented"})
    assert done.returncode == 1
    assert f"entry {own[0]['entry_id']} is only in the log" in done.stdout
    assert "entry invented is only in the read model" in done.stdout


def test_a_statement_is_a_page_without_another_host_and_every_text_is_escaped(
    cli: Cli, world: PaidWorld, tmp_path: Path
) -> None:
    rename = text("UPDATE payout_entries SET order_id = :new WHERE order_id = :old")
    order = next(row["order_id"] for row in world.entries if row["rider_id"] == RIDER and row["period"] == WEEK)
    attack = "<script src=//evil.example>&'\""
    with world.backends.sink_engine.begin() as connection:
        connection.execute(rename, {"new": attack, "old": order})
    try:
        done = cli(RIDER, "--period", WEEK, "--html", "week.html")
    finally:
        with world.backends.sink_engine.begin() as connection:
            connection.execute(rename, {"new": order, "old": attack})
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "week.html").read_text()
    assert "<script" not in page
    assert "&lt;script src=//evil.example&gt;&amp;&#x27;&quot;" in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count('class="entry"') == sum(
        row["rider_id"] == RIDER and row["period"] == WEEK for row in world.entries
    )


def test_a_statement_is_closed_once(cli: Cli, world: PaidWorld) -> None:
    rider = "rider-1"  # the city did not close this one's week
    asked = (rider, "--period", "2026-W40", "--currency", "EUR", "--close", "--by", "ruth")
    shown = cli(*asked, "--dry-run").stdout
    document = json.loads(cli(*asked, "--dry-run", "--json").stdout)
    assert f"close 2026-W40 of rider-1 in EUR: {document['total']} EUR in" in shown
    assert (document["dry_run"], document["closed_at_position"]) == (True, None), "nothing is closed"
    done = cli(*asked, "--yes")
    assert f"{document['total']} EUR in" in done.stdout, "what is closed is named before"
    assert done.returncode == 0, done.stderr
    assert "closed 2026-W40 of rider-1 in EUR, at position" in done.stdout
    again = cli(rider, "--period", "2026-W40", "--currency", "EUR", "--close", "--by", "ruth")
    assert again.returncode == 1
    assert "2026-W40" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (RIDER, "--period", "week 48"),
        (RIDER, "--period", WEEK, "--currency", "euro"),
        (RIDER, "--period", WEEK, "--close", "--by", "ruth"),
        (RIDER, "--period", WEEK, "--currency", "EUR", "--close"),
        (RIDER, "--period", WEEK, "--dry-run"),
        (RIDER, "--period", WEEK, "--by", "ruth"),
        (RIDER,),
    ],
)
def test_wrong_usage_is_refused(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli(*arguments).returncode == 2


def test_a_rider_without_events_is_named(cli: Cli) -> None:
    done = cli("nobody", "--period", WEEK)
    assert done.returncode == 1
    assert "no event of rider 'nobody'" in done.stderr
