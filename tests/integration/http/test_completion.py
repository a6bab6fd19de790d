"""Completion on a filled database: with one delivery, never in a list, and where riders really stop by place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import Engine, text

from domain.deliveries.values import DeliverySnapshot
from domain.errors import UnknownDelivery
from domain.events.contracts import Codec
from infrastructure.embedded.postgres import Postgres
from infrastructure.http.analytics import analytics_router
from infrastructure.http.deliveries import deliveries_router
from infrastructure.http.delivery_reader import DeliveryReader
from infrastructure.http.errors import HANDLERS
from infrastructure.http.paging import encode_cursor
from infrastructure.postgres.engine import reader_engine
from infrastructure.replay.past_reads import PastRows
from read_models.completion.queries import place_of, stops_at
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.servers.http_server import served
from tests.support.servers.servers import fresh_database

T_MS = 1_790_000_000_000
PLACES = 300

# An old generation and the active one; order-1 was given from rider-1 to rider-2 before its pick-up.
FILL = """
INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active, state)
SELECT p, g, 1, '', g = 2, 'following' FROM unnest(array['deliveries', 'completion']) p, generate_series(1, 2) g;
INSERT INTO deliveries
SELECT 2, 'order-' || n, 0, 5, 100 + n, 'completed', 'rider-2', 52.5, 13.4, 52.52, 13.41, 'Berlin', 'Europe/Berlin',
       'EUR', 1790000000000, NULL, NULL, NULL, NULL, NULL, 600, NULL, 1
FROM generate_series(0, 2) n;
INSERT INTO completion_legs
VALUES (2, 'order-1', 'to_restaurant', 'rider-1', 3, 90, '52.5000,13.4000', 'unassigned', '2026-11-01 11:00Z', NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
       (2, 'order-1', 'to_restaurant', 'rider-2', 4, 95, '52.5000,13.4000', 'completed', '2026-11-01 11:02Z',
        '2026-11-01 11:02:50Z', '2026-11-01 11:03:20Z', '2026-11-01 11:04:01Z', '2026-11-01 11:04:01Z', 'both', 'high',
        12000, 8000, 9000, 'a-1', 'a-2', 'b-1', 'b-1'),
       (2, 'order-1', 'to_customer', 'rider-2', 4, 99, '52.5200,13.4100', 'completed', '2026-11-01 11:04:01Z', NULL,
        NULL, NULL, '2026-11-01 11:14Z', 'button_against_pings', 'high', 2000000, 5000, 2000000, NULL, NULL, NULL,
        'b-2'),
       (1, 'order-2', 'to_customer', 'rider-2', 4, 99, '52.5200,13.4100', NULL, '2026-11-01 11:00Z', NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO completion_places
SELECT g, '52.' || lpad(n::text, 4, '0') || ',13.4000', leg, s, n % 7 + 1, 200000 * (n % 7 + 1), 0, n % 7 + 1
FROM generate_series(1, 2) g, generate_series(0, 299) n, unnest(array['to_restaurant', 'to_customer']) leg,
     generate_series(0, 1) s;
UPDATE completion_places SET north_mm = 20000, far_stops = 0 WHERE leg = 'to_customer';
UPDATE completion_places SET stops = 1000 WHERE generation = 1;
ANALYZE
"""


def recorded(order_id: str) -> DeliverySnapshot:
    raise UnknownDelivery(f"no order {order_id!r} was placed")


@pytest.fixture(scope="module")
def filled(migrated_postgres: Postgres) -> Iterator[Engine]:
    with fresh_database(migrated_postgres) as url:
        engine = reader_engine(url)
        with engine.begin() as connection:
            for statement in FILL.split(";\n"):
                connection.execute(text(statement))
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def http(filled: Engine) -> Iterator[httpx.Client]:
    deliveries = deliveries_router(cast("Any", None), DeliveryReader(filled, recorded), lambda _verb, _outcome: None)
    analytics = analytics_router(filled, PastRows(filled, Codec(LocalSchemaIds()).decode, 1_000))
    application = Litestar([deliveries, analytics], exception_handlers=HANDLERS)
    with served(application) as url, httpx.Client(base_url=url, timeout=20.0) as client:
        yield client


def places(http: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = http.get("/analytics/completion-places", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


# One delivery


def test_a_delivery_shows_how_each_leg_was_completed_and_by_which_events(http: httpx.Client) -> None:
    restaurant, customer = http.get("/deliveries/order-1").json()["completion"]["legs"]
    assert restaurant["arrived_at_ms"] == round(datetime(2026, 11, 1, 11, 3, 20, tzinfo=UTC).timestamp() * 1_000)
    assert {**restaurant, "approach_at_ms": 0, "arrived_at_ms": 0, "done_at_ms": 0, "button_at_ms": 0} == {
        "leg": "to_restaurant",
        "rider_id": "rider-2",
        "outcome": "completed",
        "approach_at_ms": 0,
        "arrived_at_ms": 0,
        "done_at_ms": 0,
        "button_at_ms": 0,
        "basis": "both",
        "certainty": "high",
        "distance_m": 12.0,
        "accuracy_m": 8.0,
        "button_distance_m": 9.0,
        "evidence": {"approach": "a-1", "arrived": "a-2", "done": "b-1", "button": "b-1"},
        "sentence": "Arrived by pings at 12:03:20, button at 12:04:01 (Europe/Berlin).",
    }
    assert (customer["leg"], customer["basis"], customer["arrived_at_ms"]) == (
        "to_customer",
        "button_against_pings",
        None,
    )
    assert customer["sentence"] == "Button at 12:14:00, and the pings show the rider elsewhere (Europe/Berlin)."


@pytest.mark.parametrize("order_id", ["order-0", "order-2"])
def test_completion_is_null_without_a_leg_of_the_active_generation(http: httpx.Client, order_id: str) -> None:
    assert http.get(f"/deliveries/{order_id}").json()["completion"] is None


def test_lists_have_no_completion(http: httpx.Client) -> None:
    items = http.get("/deliveries").json()["items"]
    assert [item["order_id"] for item in items] == ["order-0", "order-1", "order-2"]
    assert all("completion" not in item for item in items)


def test_an_unknown_order_is_unknown(http: httpx.Client) -> None:
    assert http.get("/deliveries/order-9").status_code == 404


# Places


def test_a_place_is_the_sum_of_its_shards_with_its_usual_offset(http: httpx.Client) -> None:
    found = places(http, leg="to_restaurant", limit=3)["items"]
    assert found[2] == {
        "place": "52.0002,13.4000",
        "leg": "to_restaurant",
        "stops": 6,
        "north_mm": 1_200_000,
        "east_mm": 0,
        "far_stops": 6,
        "offset_north_m": 200.0,
        "offset_east_m": 0.0,
        "offset_m": 200.0,
        "far_share": 1.0,
        "offset_known": True,
    }
    assert [item["offset_known"] for item in found] == [False, False, True]  # 2, 4 and 6 stops


def test_pages_have_every_place_once(http: httpx.Client) -> None:
    found: list[tuple[str, str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = places(http, limit=70, **cursor)
        found += [(item["place"], item["leg"]) for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(found) == 2 * PLACES
    assert found == sorted(set(found))


def test_places_with_few_stops_are_left_out_on_request(http: httpx.Client) -> None:
    found = places(http, leg="to_customer", min_stops=13, limit=1_000)["items"]
    assert {item["stops"] for item in found} == {14}
    assert len(found) == sum(n % 7 == 6 for n in range(PLACES))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"leg": "to_depot"}, "invalid_leg"),
        ({"min_stops": "0"}, "invalid_request"),
        ({"min_stops": "many"}, "invalid_request"),
        ({"limit": "0"}, "invalid_limit"),
        ({"cursor": "order-7"}, "invalid_cursor"),
        ({"cursor": encode_cursor("52.0000,13.4000/to_customer", "rider_id")}, "invalid_cursor"),
    ],
)
def test_what_cannot_be_asked(http: httpx.Client, query: dict[str, str], code: str) -> None:
    answer = http.get("/analytics/completion-places", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_case_is_read_beside_the_stops_at_its_place(filled: Engine) -> None:
    with filled.connect() as connection:
        (row,) = connection.execute(stops_at(place_of(52.00021, 13.40001), "to_restaurant"))
        (none,) = connection.execute(stops_at(place_of(-1.0, 13.4), "to_restaurant"))
    assert tuple(row) == (6, 1_200_000, 0, 6)
    assert tuple(none) == (None, None, None, None)
