"""``GET /analytics/outcome-…`` over real HTTP: orders through commands and ETAs; pages, filters, errors, the past."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar

from domain.deliveries.commands import Arrive, RecordEta
from infrastructure.http.errors import HANDLERS
from infrastructure.http.outcomes import outcomes_router
from infrastructure.replay.past_reads import RowReplay
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from projections.outcomes import OUTCOMES
from tests.support.servers.http_server import served
from tests.support.worlds.eta_on_servers import EtaOnServers, eta_on_servers

PATHS = ("/outcome-hours", "/outcome-places", "/outcome-riders")
KEYS = {"/outcome-hours": "hour", "/outcome-places": "place", "/outcome-riders": "rider_id"}
PLACE = "52.5200,13.4000"


@pytest.fixture
def world(settings: Settings) -> Iterator[EtaOnServers]:
    with eta_on_servers(settings) as one:
        yield one


@pytest.fixture
def http(world: EtaOnServers) -> Iterator[httpx.Client]:
    backends = world.backends
    past = RowReplay(backends.engine, backends.decode, 1_000, OUTCOMES)
    application = Litestar([outcomes_router(backends.engine, past)], exception_handlers=HANDLERS)
    with served(application) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


def get(http: httpx.Client, path: str, **query: Any) -> dict[str, Any]:
    answer = http.get(f"/analytics{path}", params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


def deliver(world: EtaOnServers, order_id: str, rider_id: str, **fields: Any) -> int:
    """A delivery that takes an hour, and ended just now. Returns the position of its end."""
    start = now_ms() - 3_600_000
    world.place(order_id, at_ms=start, promised_seconds=3_000, **fields)
    world.assign(order_id, rider_id, at_ms=start + 60_000)
    world.command(
        RecordEta,
        order_id,
        at_ms=start + 120_000,
        leg="to_restaurant",
        p50_seconds=3_000.0,
        p90_seconds=3_400.0,
        model_digest="m",
    )
    world.pick_up(order_id, at_ms=start + 660_000)
    world.command(Arrive, order_id, at_ms=start + 3_540_000)
    return world.complete(order_id, at_ms=start + 3_600_000)


def test_a_delivery_counts_in_its_hour_its_place_and_for_its_rider(world: EtaOnServers, http: httpx.Client) -> None:
    deliver(world, "order-1", "anna")
    world.fold(OUTCOMES)
    rows = {path: get(http, path) for path in PATHS}
    for path, key in KEYS.items():
        (row,) = rows[path]["items"]
        assert (rows[path]["next"], rows[path]["generation"]) == (None, 1)
        name = row.pop(key)
        assert {"hour": str, "place": PLACE, "rider_id": "anna"}[key] in (name, type(name))
        assert row == {
            "completed": 1,
            "cancelled": 0,
            "cancelled_picked_up": 0,
            "unassigned": 0,
            "placed_to_assigned_ms": 60_000,
            "assigned_to_picked_up_ms": 600_000,
            "arrivals": 1,
            "picked_up_to_arrived_ms": 2_880_000,
            "arrived_to_completed_ms": 60_000,
            "placed_to_completed_ms": 3_600_000,
            "promised": 1,
            "lateness_ms": 600_000,
            "late": 1,
            "etas": 1,
            "eta_error_ms": 480_000,
            "eta_abs_error_ms": 480_000,
            "beyond_p90": 1,
            "duration_mean_s": 3_600.0,
            "lateness_mean_s": 600.0,
            "eta_error_mean_s": 480.0,
            "eta_abs_error_mean_s": 480.0,
            "beyond_p90_share": 1.0,
        }


def test_lists_are_filtered_and_paged(world: EtaOnServers, http: httpx.Client) -> None:
    for number in range(5):
        deliver(world, f"order-{number}", f"rider-{number % 3}")
    world.place("order-x")
    world.assign("order-x", "rider-9")
    world.unassign("order-x")
    world.cancel("order-x")
    world.fold(OUTCOMES)
    found, cursor = [], dict[str, str]()
    while True:
        page = get(http, "/outcome-riders", limit=2, **cursor)
        found += page["items"]
        if page["next"] is None:
            break
        assert len(page["items"]) == 2
        cursor = {"cursor": page["next"]}
    counts = [(row["rider_id"], row["completed"], row["unassigned"]) for row in found]
    assert counts == [("rider-0", 2, 0), ("rider-1", 2, 0), ("rider-2", 1, 0), ("rider-9", 0, 1)]
    assert found[-1]["duration_mean_s"] is None
    assert found == get(http, "/outcome-riders")["items"]
    assert get(http, "/outcome-riders", rider_id="rider-1")["items"] == found[1:2]
    (place,) = get(http, "/outcome-places", place=PLACE)["items"]
    assert (place["completed"], place["cancelled"], place["unassigned"]) == (5, 1, 1)
    assert get(http, "/outcome-places", place="52.5300,13.4000")["items"] == []
    for path, filters in (("/outcome-places", "place"), ("/outcome-riders", "rider_id")):
        assert get(http, path, **{filters: "\0"})["items"] == []
    now = datetime.now(UTC)
    for path in PATHS:
        assert get(http, path, until=(now - timedelta(hours=2)).isoformat())["items"] == []
        assert get(http, path, since=(now - timedelta(hours=1)).isoformat())["items"] == get(http, path)["items"]
        assert get(http, path, since=(now + timedelta(hours=1)).isoformat())["items"] == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": 0}, "invalid_limit"),
        ({"limit": "x"}, "invalid_request"),
        ({"since": "yesterday"}, "invalid_time"),
        ({"cursor": "made-up"}, "invalid_cursor"),
        ({"position": 1_000_000}, "unknown_position"),
        ({"axis": "event"}, "invalid_request"),
    ],
    ids=str,
)
def test_what_is_asked_wrongly_is_a_400(http: httpx.Client, path: str, query: dict[str, Any], code: str) -> None:
    answer = http.get(f"/analytics{path}", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_past_answer_is_that_of_its_position(world: EtaOnServers, http: httpx.Client) -> None:
    first = deliver(world, "order-1", "anna")
    world.fold(OUTCOMES)
    then = {path: get(http, path)["items"] for path in PATHS}
    deliver(world, "order-2", "ben")
    for path in PATHS:
        past = get(http, path, position=first)
        assert (past["items"], past["generation"], past["position"]) == (then[path], None, first)
        assert get(http, path, position=first - 1)["items"] == []
    world.fold(OUTCOMES)
    last = world.backends.log.head("Rider").position
    for path in PATHS:
        assert get(http, path, position=last)["items"] == get(http, path)["items"] != then[path]


def test_invariant_15_a_log_that_is_too_long_for_one_request_is_refused(world: EtaOnServers) -> None:
    position = deliver(world, "order-1", "anna")
    past = RowReplay(world.backends.engine, world.backends.decode, 3, OUTCOMES)
    application = Litestar([outcomes_router(world.backends.engine, past)], exception_handlers=HANDLERS)
    with served(application) as url:
        answer = httpx.get(f"{url}/analytics/outcome-hours", params={"position": position}, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (422, "replay_too_long")
