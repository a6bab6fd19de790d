"""``GET /deliveries`` on a filled database: one order, also while its row is behind, lists, pages and plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import Engine, Select, text

from domain.deliveries.values import Coordinates, DeliverySnapshot
from domain.errors import UnknownDelivery
from domain.identifiers import shard_of
from infrastructure.embedded.postgres import Postgres
from infrastructure.http.deliveries import deliveries_router
from infrastructure.http.delivery_reader import DeliveryReader
from infrastructure.http.errors import HANDLERS
from infrastructure.http.paging import encode_cursor, encode_keyset
from infrastructure.postgres.engine import reader_engine
from read_models.deliveries import queries
from read_models.deliveries.queries import Filters
from read_models.generations import BY_INDEX
from tests.support.servers.http_server import served
from tests.support.servers.servers import fresh_database

T_MS = 1_790_000_000_000
ORDERS = 3_000

# Order n was placed n // 2 seconds after T_MS, by rider-(n % 50), in an old generation and in the active one.
FILL = """
INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active, state)
VALUES ('deliveries', 1, 1, '', false, 'following'), ('deliveries', 2, 1, '', true, 'following');
INSERT INTO deliveries
SELECT g, 'order-' || n, 0, 5, 100 + n, (array['placed', 'assigned', 'completed', 'cancelled'])[1 + n % 4],
       CASE WHEN n % 4 > 0 THEN 'rider-' || n % 50 END, 52.5, 13.4, 52.52, -13.41, 'Berlin', 'Europe/Berlin', 'EUR',
       1790000000000 + n / 2 * 1000, CASE WHEN n % 4 > 0 THEN 1790000000000 + n * 1000 END, NULL, NULL, NULL, NULL,
       600, NULL, n
FROM generate_series(1, 2) g, generate_series(0, 2999) n;
UPDATE deliveries SET status = 'arrived' WHERE generation = 1;
ANALYZE
"""

STRANGE = ("order", "%00", "%FF", "%ED%A0%80", "a%2Fb", "'; --", "x" * 3_000, "..%2F..", "%F0%9F%9A%B2")
NO_KEYSETS = ("", "order-7", "1", "01/a", "+1/a", " 1/a", "1_0/a", "٣/a", "--1/a", "9" * 30 + "/a", f"{1 << 63}/a")


def recorded(order_id: str) -> DeliverySnapshot:
    """The log has one order more than the table, and a later state of another one."""
    if order_id not in {"order-new", "order-7"}:
        raise UnknownDelivery(f"no order {order_id!r} was placed")
    here = Coordinates(52.5, 13.4)
    times = (T_MS, None, None, None, None, None)
    return DeliverySnapshot(order_id, "placed", None, here, here, "", "UTC", "EUR", *times, None, None, None, 9, 5_000)


def application(engine: Engine) -> Litestar:
    router = deliveries_router(cast("Any", None), DeliveryReader(engine, recorded), lambda _verb, _outcome: None)
    return Litestar([router], exception_handlers=HANDLERS)


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
    with served(application(filled)) as url, httpx.Client(base_url=url, timeout=20.0) as client:
        yield client


def listed(http: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = http.get("/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


def ids(page: dict[str, Any]) -> list[str]:
    return [row["order_id"] for row in page["items"]]


def expected(wanted: Any) -> list[str]:
    """The orders in the order of a list: by the time of placing, then by id as text."""
    numbers = [n for n in range(ORDERS) if wanted(n)]
    return [f"order-{n}" for n in sorted(numbers, key=lambda n: (n // 2, f"order-{n}"))]


def set_fence(engine: Engine, order_id: str, *, head: int, seq: int | None, log_id: str | None = None) -> None:
    """Say how far the log and the table are in the order's shard."""
    shard = shard_of(order_id)
    with engine.begin() as connection:
        found = str(connection.execute(text("SELECT log_id FROM log_head")).scalar_one())
        connection.execute(
            text("UPDATE log_numbers SET seqs = jsonb_build_object('Delivery', CAST(:seqs AS jsonb))"),
            {"seqs": str([head if number == shard else 0 for number in range(64)])},
        )
        connection.execute(text("DELETE FROM projection_fences"))
        if seq is not None:
            connection.execute(
                text(
                    "INSERT INTO projection_fences"
                    " (projection, generation, shard, number, log_id, incarnation, seq, position) VALUES"
                    " ('deliveries', 2, :shard, 1, :log_id, 'one', :seq, 7)"
                ),
                {"shard": shard, "log_id": log_id or found, "seq": seq},
            )


@pytest.fixture(autouse=True)
def nothing_is_behind(filled: Engine) -> None:
    with filled.begin() as connection:
        connection.execute(text("DELETE FROM projection_parked"))
    set_fence(filled, "order-7", head=0, seq=None)


def test_one_delivery_has_the_fields_of_the_contract(http: httpx.Client) -> None:
    assert http.get("/deliveries/order-7").json() == {
        "order_id": "order-7",
        "status": "cancelled",
        "rider_id": "rider-7",
        "restaurant": {"latitude": 52.5, "longitude": 13.4},
        "customer": {"latitude": 52.52, "longitude": -13.41},
        "city": "Berlin",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "placed_at_ms": T_MS + 3_000,
        "assigned_at_ms": T_MS + 7_000,
        "picked_up_at_ms": None,
        "arrived_at_ms": None,
        "completed_at_ms": None,
        "cancelled_at_ms": None,
        "preparation_seconds": 600,
        "promised_seconds": None,
        "items": 7,
        "version": 5,
        "position": 107,
        "completion": None,
    }


def test_a_delivery_of_which_the_table_is_behind_is_read_from_the_log(http: httpx.Client, filled: Engine) -> None:
    def version(order_id: str = "order-7") -> int:
        answer = http.get(f"/deliveries/{order_id}")
        return int(answer.json()["version"]) if answer.status_code == 200 else answer.status_code

    set_fence(filled, "order-7", head=12, seq=12)
    assert version() == 5
    set_fence(filled, "order-7", head=12, seq=11)
    assert version() == 9
    set_fence(filled, "order-7", head=12, seq=None)
    assert version() == 9
    set_fence(filled, "order-7", head=12, seq=12, log_id="another log")
    assert version() == 9
    set_fence(filled, "order-new", head=1, seq=None)
    assert version("order-new") == 9
    assert version() == 5  # its shard is another one
    set_fence(filled, "order-new", head=1, seq=1)
    assert version("order-new") == 404


def test_a_parked_delivery_is_read_from_the_log(http: httpx.Client, filled: Engine) -> None:
    set_fence(filled, "order-7", head=12, seq=12)
    with filled.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO projection_parked (projection, generation, shard, key, parked)"
                " VALUES ('deliveries', 2, :shard, 'order-7', '{}')"
            ),
            {"shard": shard_of("order-7")},
        )
    assert http.get("/deliveries/order-7").json()["version"] == 9


@pytest.mark.parametrize("path", STRANGE)
def test_an_unknown_order_is_a_404(http: httpx.Client, path: str) -> None:
    answer = http.get(f"/deliveries/{path}")
    assert answer.status_code == 404, answer.text
    assert answer.json()["code"] in {"unknown_delivery", "not_found"}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, lambda n: True),
        ({"status": "placed"}, lambda n: n % 4 == 0),
        ({"status": "arrived"}, lambda n: False),
        ({"rider_id": "rider-7"}, lambda n: n % 50 == 7 and n % 4),
        ({"rider_id": "rider-7", "status": "completed"}, lambda n: n % 50 == 7 and n % 4 == 2),
        ({"since": T_MS + 700_000}, lambda n: n // 2 >= 700),
        ({"until": "2026-09-21T14:25:00Z"}, lambda n: n // 2 < 700),
        ({"since": T_MS + 100_000, "until": T_MS + 101_000}, lambda n: n // 2 == 100),
        ({"since": T_MS + 101_000, "until": T_MS + 100_000}, lambda n: False),
        ({"rider_id": "rider-unknown"}, lambda n: False),
        ({"rider_id": "\0"}, lambda n: False),
    ],
    # Not repr of the function: it has an address, which differs between the workers of a parallel run.
    ids=lambda value: repr(value) if isinstance(value, dict) else "orders",
)
def test_a_list_is_filtered_and_paged_by_the_time_of_placing(
    http: httpx.Client, query: dict[str, Any], wanted: Any
) -> None:
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = listed(http, **query, **cursor, limit=333)
        assert set(page) == {"items", "next"}
        found += ids(page)
        if page["next"] is None:
            break
        assert len(page["items"]) == 333
        cursor = {"cursor": page["next"]}
    assert found == expected(wanted)


def test_a_page_of_one_ends_with_the_last_order(http: httpx.Client) -> None:
    last = {"since": T_MS + 1_499_000, "limit": 1}
    first = listed(http, **last)
    second = listed(http, **last, cursor=first["next"])
    assert (ids(first), ids(second), second["next"]) == (["order-2998"], ["order-2999"], None)
    assert len(listed(http)["items"]) == 100


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"status": "lost"}, "invalid_status"),
        ({"status": ""}, "invalid_status"),
        ({"since": "yesterday"}, "invalid_time"),
        ({"until": "9" * 5_000}, "invalid_time"),
        ({"limit": 0}, "invalid_limit"),
        ({"limit": 1_001}, "invalid_limit"),
        ({"limit": "many"}, "invalid_request"),
        ({"cursor": ""}, "invalid_cursor"),
        ({"cursor": "%%%"}, "invalid_cursor"),
        ({"cursor": encode_cursor("rider-7", "rider_id")}, "invalid_cursor"),
        ({"cursor": encode_keyset(T_MS, "order-7", "another")}, "invalid_cursor"),
        *(({"cursor": encode_cursor(value, "placed_at_ms/order_id")}, "invalid_cursor") for value in NO_KEYSETS),
    ],
    ids=repr,
)
def test_an_invalid_query_says_what_is_wrong(http: httpx.Client, query: dict[str, Any], code: str) -> None:
    answer = http.get("/deliveries", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["detail"]


def test_no_query_scans_the_table(filled: Engine) -> None:
    for query in [
        queries.one("order-7"),
        queries.page(Filters(), None, 101),
        queries.page(Filters(), (T_MS, "order-7"), 101),
        queries.page(Filters("placed"), None, 101),
        queries.newest("placed", 101),
        queries.page(Filters(rider_id="rider-7"), None, 101),
        queries.page(Filters("placed", "rider-7", T_MS, T_MS + 5_000), (T_MS, "order-7"), 101),
        queries.page(Filters(since_ms=T_MS + 1_000_000), None, 101),
    ]:
        plan = explain(filled, query)
        assert "Seq Scan on deliveries" not in plan, plan
        assert "Sort" not in plan or "rider_id" in plan, plan


def explain(engine: Engine, query: Select[Any]) -> str:
    compiled = query.compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        connection.execute(BY_INDEX)
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {compiled}".replace("%", "%%")).scalars())


def test_a_database_that_does_not_answer_is_a_503(http: httpx.Client) -> None:
    engine = reader_engine("postgresql://ridelog@127.0.0.1:1/none")
    with served(application(engine)) as url, httpx.Client(base_url=url) as client:
        for path in ("/deliveries", "/deliveries/order-7"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "read_model_unavailable")
            assert answer.headers["retry-after"] == "1"
    engine.dispose()
