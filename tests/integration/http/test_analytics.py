"""``/analytics`` on a filled database: filters, pages, errors, and query plans without a scan of a large table."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar, Router
from sqlalchemy import Engine, Select, text

from domain.events.contracts import Codec
from infrastructure.embedded.postgres import Postgres
from infrastructure.http.analytics import analytics_router
from infrastructure.http.errors import HANDLERS
from infrastructure.http.paging import encode_cursor
from infrastructure.postgres.engine import reader_engine
from infrastructure.replay.past_reads import PastRows
from read_models.analytics import queries
from read_models.generations import BY_INDEX
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.postgres.recorded_log import write
from tests.support.servers.http_server import served
from tests.support.servers.servers import fresh_database
from tests.support.worlds.speed_events import ping_data


def router(engine: Engine) -> Router:
    return analytics_router(engine, PastRows(engine, Codec(LocalSchemaIds()).decode, 1_000))


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

# 600 riders by 200 hours in the active generation and again in an old one; rider-n moves with n / 50 m/s.
FILL = """
INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active, state)
VALUES ('analytics', 1, 1, '', false, 'following'), ('analytics', 2, 1, '', true, 'following');
INSERT INTO projection_shards SELECT 'analytics', 2, s FROM generate_series(0, 63) s;
INSERT INTO projection_fences (projection, generation, shard, number, log_id, incarnation, seq, position)
SELECT 'analytics', 2, s, 1, 'log', 'one', s * 10, s * 100 FROM generate_series(0, 63) s;
INSERT INTO rider_hours
SELECT g, 'rider-' || n, timestamptz '2026-03-01 12:00Z' - i * interval '1 hour', n % 64,
       60, 1, 0, 0, 0, 0, 2, 0, n * 720, n * 720, 36000, n * 30, 5000
FROM generate_series(1, 2) g, generate_series(1, 600) n, generate_series(0, 199) i;
INSERT INTO fleet_minutes
SELECT g, timestamptz '2026-03-01 12:00Z' - i * interval '1 minute', s, 3, 10, 1, 0, 0, 5000, 4000, 2000
FROM generate_series(1, 2) g, generate_series(0, 63) s, generate_series(0, 1999) i;
ANALYZE
"""


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
    with (
        served(Litestar([router(filled)], exception_handlers=HANDLERS)) as url,
        httpx.Client(base_url=url, timeout=20.0) as client,
    ):
        yield client


def get(http: httpx.Client, path: str, **query: Any) -> dict[str, Any]:
    answer = http.get(f"/analytics{path}", params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


def test_riders_above_a_speed_are_paged_by_id(http: httpx.Client) -> None:
    query = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-01T13:00:00Z", "min_speed_mps": 10, "limit": 30}
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = get(http, "/riders", **query, **cursor)
        assert answer["generation"] == 2
        found += answer["items"]
        if answer["next"] is None:
            break
        assert len(answer["items"]) == 30
        cursor = {"cursor": answer["next"]}
    assert [row["rider_id"] for row in found] == sorted(f"rider-{n}" for n in range(501, 601))
    one = next(row for row in found if row["rider_id"] == "rider-600")
    assert (one["pings"], one["speed_mean_mps"], one["speed_max_mps"]) == (13 * 60, 12.0, 18.0)
    # Epoch milliseconds give the same result; whole hours.
    ms = int(datetime(2026, 3, 1, 11, 59, tzinfo=UTC).timestamp() * 1000)
    last_two = get(http, "/riders", since=ms, until="2026-03-01T13:00:00Z", min_speed_mps=11.9, limit=1_000)
    assert {row["pings"] for row in last_two["items"]} == {120}
    assert get(http, "/riders")["items"] == []  # the last day has none


def test_one_rider_day_by_day(http: httpx.Client) -> None:
    last = get(http, "/riders/rider-7")
    assert [row["hour"][:13] for row in last["items"]] == [f"2026-03-01T{hour:02}" for hour in range(13)]
    assert (last["items"][0]["late_60_min"], last["items"][0]["distance_m"]) == (2, 5.04)
    day = get(http, "/riders/rider-7", day="2026-02-27")
    assert len(day["items"]) == 24
    page = get(http, "/riders/rider-7", day="2026-02-27", limit=20)
    rest = get(http, "/riders/rider-7", day="2026-02-27", limit=20, cursor=page["next"])
    assert page["items"] + rest["items"] == day["items"]
    assert rest["next"] is None
    assert get(http, "/riders/rider-7", since="2026-03-01T12:00:00Z")["items"] == last["items"][-1:]


def test_the_fleet_by_minute(http: httpx.Client) -> None:
    answer = get(http, "/fleet", since="2026-03-01T11:30:30Z", until="2026-03-01T12:00:00Z")
    assert [row["minute"][11:16] for row in answer["items"]] == [f"11:{minute}" for minute in range(30, 60)]
    first = answer["items"][0]
    assert (first["riders"], first["pings"], first["speed_mean_mps"]) == (3 * 64, 10 * 64, 2.0)
    assert answer["fences"] == {str(shard): shard * 10 for shard in range(64)}
    assert get(http, "/fleet", until="2026-03-01T12:01:00Z", limit=59)["next"] is not None


NESTED = base64.urlsafe_b64encode(b"[" * 20_000 + b"]" * 20_000).decode().rstrip("=")
NUMBERS = base64.urlsafe_b64encode(b"9" * 5_000).decode().rstrip("=")


@pytest.mark.parametrize("path", ["/riders", "/riders/rider-7", "/fleet"])
def test_regression_an_invalid_cursor_is_a_400(http: httpx.Client, path: str) -> None:
    query: dict[str, Any] = {"since": "2026-02-27T00:00:00Z", "until": "2026-03-01T13:00:00Z", "limit": 20}
    given = get(http, path, **query)["next"]
    assert get(http, path, **query, cursor=given)["items"]
    others = {get(http, other, **query)["next"] for other in ("/riders", "/riders/rider-7", "/fleet")} - {given}
    made_up = [
        "", "%%%", "e30", "Im5vIHRpbWUi", NESTED, NUMBERS, "é", "\ud7ff", "A" * 30_000,
        given + "=", given + "A", given[:-1], given.upper(), f" {given}", *others,
        encode_cursor("a\0b", "rider_id"), encode_cursor("2026-03-01", "hour"), encode_cursor("9" * 600, "minute"),
    ]  # fmt: skip
    for cursor in made_up:
        answer = http.get(f"/analytics{path}", params={**query, "cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor"), cursor[:80]


@pytest.mark.parametrize(
    "query",
    [
        {"position": 10**30},
        {"position": "9" * 5_000},
        {"position": -1},
        {"limit": 10**30},
        {"limit": "9" * 5_000},
        {"since": "9" * 5_000},
        {"at": "9" * 5_000},
        {"at": 10**30, "axis": "event"},
        {"min_speed_mps": "9" * 5_000},
        {"min_speed_mps": "1e999"},
        {"day": "9" * 5_000},
        {"at": 0, "axis": "event", "position": 2**63},
    ],
    ids=repr,
)
def test_a_number_beyond_all_bounds_is_rejected_and_is_not_an_error_of_the_server(
    http: httpx.Client, query: dict[str, Any]
) -> None:
    for path in ("/riders", "/riders/rider-7", "/fleet"):
        answer = http.get(f"/analytics{path}", params=query)
        assert answer.status_code in {200, 400, 404}, (path, answer.text[:300])


def test_errors_say_what_to_do(http: httpx.Client) -> None:
    refused: list[tuple[str, dict[str, Any], int, str]] = [
        ("/riders", {"limit": 0}, 400, "invalid_limit"),
        ("/riders", {"limit": 1_001}, 400, "invalid_limit"),
        ("/riders", {"limit": "many"}, 400, "invalid_request"),
        ("/riders", {"cursor": "%%%"}, 400, "invalid_cursor"),
        ("/riders", {"cursor": "e30"}, 400, "invalid_cursor"),
        ("/riders/rider-7", {"cursor": "Im5vIHRpbWUi"}, 400, "invalid_cursor"),
        ("/riders", {"since": "yesterday"}, 400, "invalid_time"),
        ("/riders", {"since": "2026-03-01T00:00:00"}, 400, "invalid_time"),
        ("/fleet", {"until": "99999999999999999"}, 400, "invalid_time"),
        ("/riders", {"min_speed_mps": "nan"}, 400, "invalid_speed"),
        ("/riders/rider-7", {"day": "2026-02-30"}, 400, "invalid_time"),
        ("/riders/rider-7", {"day": "2026-02-28", "since": "0"}, 400, "invalid_request"),
        ("/riders/nobody", {}, 404, "unknown_rider"),
        ("/riders/%00", {}, 404, "unknown_rider"),
        ("/riders/select", {}, 404, "unknown_rider"),
    ]
    for path, query, status, code in refused:
        answer = http.get(f"/analytics{path}", params=query)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, query, answer.text)


def test_no_query_scans_a_large_table(filled: Engine) -> None:
    since = NOON - 200 * HOUR
    for query in [
        queries.riders(NOON - 24 * HOUR, NOON, 3.0, None, 101),
        queries.riders(since, NOON, 3.0, None, 101),
        queries.riders(since, NOON, None, "rider-300", 101),
        queries.hours_of("rider-7", None, None, None, 101),
        queries.hours_of("rider-7", NOON - 24 * HOUR, NOON, NOON - 20 * HOUR, 101),
        queries.latest_hour_of("rider-7"),
        queries.fleet(NOON - HOUR, NOON, None, 101),
        queries.fleet(since, NOON, None, 101),
    ]:
        plan = explain(filled, query)
        for table in ("rider_hours", "fleet_minutes"):
            assert f"Seq Scan on {table}" not in plan, plan


def explain(engine: Engine, query: Select[Any]) -> str:
    compiled = query.compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        connection.execute(BY_INDEX)
        return "\n".join(connection.execute(text(f"EXPLAIN {compiled}".replace(":", "\\:"))).scalars())


def test_before_any_event_is_folded_lists_are_empty(engine: Engine) -> None:
    with (
        served(Litestar([router(engine)], exception_handlers=HANDLERS)) as url,
        httpx.Client(base_url=url) as client,
    ):
        assert get(client, "/riders") == {"items": [], "next": None, "generation": None}
        assert get(client, "/fleet") == {"items": [], "next": None, "generation": None, "fences": {}}


def test_regression_as_of_an_instant_the_default_day_and_hour_end_there(engine: Engine) -> None:
    """They ended at the present: a query of a past instant without a span got an empty list."""
    noon_ms = int(NOON.timestamp() * 1000)
    minutes = [-26 * 60, -25 * 60, -23 * 60, -61, -60, -30, 0, 1, 30, 90]
    write(
        engine,
        [
            {
                **ping_data("anna", noon_ms + m * 60_000, number),
                "event_type": "GpsPing",
                "recorded_ms": noon_ms + m * 60_000,
            }
            for number, m in enumerate(minutes)
        ],
    )
    as_of_noon: list[dict[str, Any]] = [
        {"at": noon_ms},
        {"at": noon_ms, "axis": "event"},
        {"position": minutes.index(0) + 1},
    ]
    with (
        served(Litestar([router(engine)], exception_handlers=HANDLERS)) as url,
        httpx.Client(base_url=url, timeout=20.0) as http,
    ):
        for then in as_of_noon:
            fleet = get(http, "/fleet", **then)["items"]
            assert [row["minute"][11:16] for row in fleet] == ["11:00", "11:30", "12:00"], then
            (anna,) = get(http, "/riders", **then)["items"]
            assert anna["pings"] == 5, then
            # Explicit parameters take precedence.
            assert get(http, "/fleet", **then, since=noon_ms - 3 * 3_600_000)["items"][0]["minute"][11:16] == "10:59"
            assert get(http, "/riders", **then, until=noon_ms - 24 * 3_600_000)["items"][0]["pings"] == 2
        assert get(http, "/riders", position=0)["items"] == get(http, "/fleet", position=0)["items"] == []
        # The last instant that can be named.
        for path in ("/riders", "/fleet"):
            assert get(http, path, at=253_402_300_799_999, axis="event")["items"] == []
        refused = http.get("/analytics/fleet", params={"position": 99, "since": "yesterday"})
        assert refused.json()["code"] == "invalid_time", "what is wrong with a span is said before anything is folded"


def test_an_unavailable_database_is_a_503() -> None:
    engine = reader_engine("postgresql://nobody@127.0.0.1:1/none")
    with (
        served(Litestar([router(engine)], exception_handlers=HANDLERS)) as url,
        httpx.Client(base_url=url, timeout=20.0) as client,
    ):
        answer = client.get("/analytics/fleet")
        assert (answer.status_code, answer.json()["code"]) == (503, "read_model_unavailable")
    engine.dispose()
