"""The Archive port, on every adapter: in memory and in Postgres."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from domain.identifiers import SHARDS, aggregate_id, shard_of
from infrastructure.event_store.archive import WALK_ROWS, PostgresArchive
from infrastructure.event_store.engine import reader_engine
from infrastructure.event_store.recorder import EventRecorder
from projections.ports import LoggedEvent, PortUnavailable
from projections.replay.as_of import AsOf
from tests.contract.archives import FAR, anna, versions
from tests.support.archive_worlds import T0, Given, PostgresWorld, World

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


def test_a_walk_may_be_left_before_its_end(world: World) -> None:
    world.record(anna(*range(50)), T0)
    for _ in range(40):  # more often than a pool has connections
        walk = world.archive.walk("Rider", None, shard_of("anna"), 50, by_event_time=False)
        assert next(walk).event.version == 1
        del walk
    assert world.archive.head("Rider").position == 50


def test_a_walk_holds_few_rows_at_once(postgres: PostgresWorld) -> None:
    """The rows that are not asked for stay in the server: a client that took them all would hold them all."""
    count = 3 * WALK_ROWS
    recorder = EventRecorder(postgres.writer)
    recorder.insert_events([postgres.event(given) for given in anna(*range(count))])
    walk = postgres.archive.walk("Rider", None, shard_of("anna"), count, by_event_time=True)
    assert next(walk).event.version == 1
    with postgres.writer.connect() as connection:
        [(fetched,)] = connection.execute(
            text("SELECT query FROM pg_stat_activity WHERE state = 'idle in transaction' AND pid <> pg_backend_pid()")
        )
    assert fetched == f'FETCH FORWARD {WALK_ROWS} FROM "walk"'
    assert [one.event.version for one in walk] == list(range(2, count + 1))


# --- servers that are away


def test_a_server_that_is_away_is_a_port_error() -> None:
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


def test_a_server_that_goes_away_in_a_walk_is_a_port_error(postgres: PostgresWorld) -> None:
    count = 2 * WALK_ROWS
    EventRecorder(postgres.writer).insert_events([postgres.event(given) for given in anna(*range(count))])
    walk = postgres.archive.walk("Rider", ["anna"], shard_of("anna"), count, by_event_time=False)
    next(walk)
    with postgres.writer.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()"
            )
        )
    with pytest.raises(PortUnavailable):
        list(walk)
    assert postgres.archive.last_version("Rider", "anna", count) == count


def test_keys_of_another_type_of_aggregate_are_not_told(postgres: PostgresWorld) -> None:
    postgres.record(anna(0), T0)
    assert postgres.archive.key_range("Delivery", "anna", 0, 9, None) == []
    assert aggregate_id("Delivery", "anna") != aggregate_id("Rider", "anna")
