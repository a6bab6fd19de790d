"""The Archive port, on every adapter: in memory and in Postgres."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, text

from domain.identifiers import SHARDS, aggregate_id, shard_of
from infrastructure.event_store import key_walk
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.key_walk import WALK_ROWS
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine
from projections.core.ports import LoggedEvent, PortUnavailable
from projections.replay.as_of import AsOf
from tests.contract.archives import FAR, anna, versions
from tests.support.worlds.archive_worlds import T0, Given, PostgresWorld, World

# --- ranges


def test_a_range_of_a_key_is_by_version_without_its_first_and_with_its_last(world: World) -> None:
    world.record([*anna(5, 4, 3), Given("ben", T0), *anna(2, 1)], T0)
    read = world.archive.key_range
    assert versions(read("Rider", "anna", 0, 99, None)) == [1, 2, 3, 4, 5]
    assert versions(read("Rider", "anna", 1, 3, None)) == [2, 3]
    assert read("Rider", "anna", 3, 3, None) == read("Rider", "anna", 5, 99, None) == []
    assert read("Rider", "nobody", 0, 99, None) == []
    [event] = read("Rider", "ben", 0, 1, None)
    assert event == LoggedEvent(4, shard_of("ben"), 1, "ben", 1, "GpsPing", event.payload)
    assert event.payload.startswith(b'{"rider_id": "ben"')


def test_what_had_happened_by_an_instant_is_told_to_the_millisecond(world: World) -> None:
    world.record(anna(5, 4, 3, 4), T0)
    read = world.archive.key_range
    assert versions(read("Rider", "anna", 0, 99, T0 + 4)) == [2, 3, 4]
    assert versions(read("Rider", "anna", 2, 99, T0 + 4)) == [3, 4]
    assert versions(read("Rider", "anna", 0, 99, T0 + 3)) == [3]
    assert read("Rider", "anna", 0, 99, T0 + 2) == []


@pytest.mark.parametrize(("by_ms", "found"), [(FAR, [1, 2]), (-FAR, []), (-1, [])])
def test_an_instant_that_no_clock_shows_is_still_an_instant(world: World, by_ms: int, found: list[int]) -> None:
    world.record(anna(5, 4), T0)
    assert versions(world.archive.key_range("Rider", "anna", 0, 99, by_ms)) == found


def test_a_range_of_a_shard_is_by_seq(world: World) -> None:
    keys = [key for key in (f"rider-{n}" for n in range(500)) if shard_of(key) == 7][:3]
    world.record([Given(key, T0 + n) for n in range(4) for key in keys], T0)
    world.record(anna(0), T0)
    read = world.archive.shard_range
    assert [e.seq for e in read("Rider", 7, 0, 99, None)] == list(range(1, 13))
    assert [e.seq for e in read("Rider", 7, 2, 5, None)] == [3, 4, 5]
    assert [(e.key, e.version) for e in read("Rider", 7, 0, 99, T0)] == [(key, 1) for key in keys]
    assert read("Rider", (shard_of("anna") + 1) % SHARDS, 0, 99, None) == []


def test_the_last_version_is_that_at_a_position(world: World) -> None:
    world.record([*anna(1, 2), Given("ben", T0), *anna(3, 4)], T0)
    found = [world.archive.last_version("Rider", "anna", position) for position in range(7)]
    assert found == [0, 1, 2, 2, 3, 4, 4]
    assert world.archive.last_version("Rider", "ben", 2) == 0
    assert world.archive.last_version("Rider", "nobody", 5) == 0


# --- walks

KEYS = ["zoë", "zoe", "Zoe", "é", "e\u0301", "ｚ", "𝔷", "a b", "a-b", "rider-10", "rider-9", "ß", "ÿ", "\uffee"]


def test_a_walk_is_key_by_key_in_the_order_of_code_points(world: World) -> None:
    events = [Given(key, T0 + ms) for ms in (3, 1, 2, 1) for key in KEYS]
    world.record(events, T0 + 9)
    for by_event_time in (False, True):
        order = [2, 4, 3, 1] if by_event_time else [1, 2, 3, 4]
        for shard in {shard_of(key) for key in KEYS}:
            walked = list(world.archive.walk("Rider", None, shard, len(events), by_event_time=by_event_time))
            expected = [(key, v) for key in sorted(KEYS) if shard_of(key) == shard for v in order]
            assert [(one.event.key, one.event.version) for one in walked] == expected
            assert {one.recorded_ms for one in walked} == {T0 + 9}
            assert all(one.event_ms == T0 + (3, 1, 2, 1)[one.event.version - 1] for one in walked)


def test_a_walk_stops_at_its_position_and_takes_only_the_keys_of_its_shard_that_are_asked_for(world: World) -> None:
    same = [key for key in (f"rider-{n}" for n in range(900)) if shard_of(key) == 7][:3]
    other = next(key for key in (f"rider-{n}" for n in range(900)) if shard_of(key) == 8)
    world.record([Given(key, T0) for _ in range(2) for key in (*same, other)], T0)

    def walked(keys: list[str] | None, position: int) -> list[tuple[str, int]]:
        found = world.archive.walk("Rider", keys, 7, position, by_event_time=False)
        return [(one.event.key, one.event.version) for one in found]

    first, second, third = sorted(same)
    assert walked(None, 8) == [(key, v) for key in (first, second, third) for v in (1, 2)]
    assert walked([third, other, first, "nobody"], 8) == [(first, 1), (first, 2), (third, 1), (third, 2)]
    assert walked([same[0]], 4) == [(same[0], 1)]
    assert walked([], 8) == []
    assert walked(None, 0) == []


def test_a_walk_gives_the_events_as_the_ranges_of_their_keys_do(world: World) -> None:
    world.record([*anna(3, 1, 2), Given("ben", T0)], T0 + 9)
    for key in ("anna", "ben"):
        for keys in (None, [key]):
            walked = world.archive.walk("Rider", keys, shard_of(key), 4, by_event_time=False)
            assert [one.event for one in walked] == world.archive.key_range("Rider", key, 0, 99, None)


def test_a_walk_may_be_left_before_its_end(world: World) -> None:
    world.record(anna(*range(50)), T0)
    for _ in range(40):  # more often than a pool has connections
        walk = world.archive.walk("Rider", None, shard_of("anna"), 50, by_event_time=False)
        assert next(walk).event.version == 1
        del walk
    assert world.archive.head("Rider").position == 50


OPEN = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize("by_event_time", [False, True])
def test_regression_a_walk_holds_few_rows_at_once_and_no_transaction(
    postgres: PostgresWorld, by_event_time: bool
) -> None:
    """Hours of a walk in one transaction kept every dead row of the database, and slowed each append."""
    count = 2 * WALK_ROWS + 10
    recorder = EventRecorder(postgres.writer)
    recorder.insert_events([postgres.event(given) for given in anna(*(n % 3 for n in range(count)))])
    fetched: list[int] = []

    def note(_connection: Any, cursor: Any, *_: Any) -> None:
        fetched.append(cursor.rowcount)

    event.listen(postgres.reader, "after_cursor_execute", note)
    walk = postgres.archive.walk("Rider", None, shard_of("anna"), count, by_event_time=by_event_time)
    found = [next(walk)]
    for one in walk:
        found.append(one)
        if len(found) in (2, WALK_ROWS, WALK_ROWS + 1):
            with postgres.writer.connect() as connection:
                assert connection.execute(OPEN).scalar_one() == 0
    assert max(fetched) <= WALK_ROWS + 1
    order = sorted((n % 3 if by_event_time else 0, n + 1) for n in range(count))
    assert [one.event.version for one in found] == [version for _, version in order]


def test_a_walk_counts_and_groups_keys_over_many_transactions(
    postgres: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"WALK_ROWS": 4, "COUNTED_EVENTS": 3, "COUNTED_KEYS": 2}.items():
        monkeypatch.setattr(key_walk, name, size)
    keys = [key for key in (f"rider-{n}" for n in range(900)) if shard_of(key) == 7][:5]
    sizes = dict(zip(keys, (3, 1, 9, 4, 2), strict=True))
    for key, size in sizes.items():
        postgres.record([Given(key, T0 + size - n) for n in range(size)], T0)
    for asked in (None, keys):
        for by_event_time in (True, False):
            walked = list(postgres.archive.walk("Rider", asked, 7, 19, by_event_time=by_event_time))
            step = -1 if by_event_time else 1
            expected = [(key, version) for key in sorted(keys) for version in range(1, sizes[key] + 1)[::step]]
            assert [(one.event.key, one.event.version) for one in walked] == expected
    assert len(list(postgres.archive.walk("Rider", None, 7, 10, by_event_time=False))) == 10


# --- unavailable servers


def test_an_unavailable_server_is_a_port_error() -> None:
    engine = reader_engine("postgresql://nobody@127.0.0.1:1/nothing")
    archive = PostgresArchive(engine)
    for act in (
        lambda: archive.horizon(AsOf.known(T0)),
        lambda: archive.last_version("Rider", "anna", 1),
        lambda: archive.key_range("Rider", "anna", 0, 1, None),
        lambda: list(archive.walk("Rider", None, 0, 1, by_event_time=False)),
    ):
        with pytest.raises(PortUnavailable):
            act()
    engine.dispose()


def test_sessions_that_are_ended_in_a_walk_do_not_end_it(postgres: PostgresWorld) -> None:
    count = 2 * WALK_ROWS
    EventRecorder(postgres.writer).insert_events([postgres.event(given) for given in anna(*range(count))])
    walk = postgres.archive.walk("Rider", ["anna"], shard_of("anna"), count, by_event_time=False)
    next(walk)
    with postgres.writer.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        )
    assert len(list(walk)) == count - 1


def test_keys_of_another_type_of_aggregate_are_not_told(postgres: PostgresWorld) -> None:
    postgres.record(anna(0), T0)
    assert postgres.archive.key_range("Delivery", "anna", 0, 9, None) == []
    assert aggregate_id("Delivery", "anna") != aggregate_id("Rider", "anna")
