"""The Archive port, on every adapter: in memory and in Postgres."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from domain.identifiers import SHARDS, aggregate_id, shard_of
from infrastructure.event_store.archive import WALK_ROWS, PostgresArchive
from infrastructure.event_store.engine import reader_engine
from infrastructure.event_store.instants import resolve
from infrastructure.event_store.recorder import EventRecorder
from projections.ports import LoggedEvent, PortUnavailable
from projections.replay.as_of import AsOf, Unresolvable
from tests.support.archive_worlds import PARTITION, T0, Given, MemoryWorld, PostgresWorld, World, postgres_world

FAR = 1 << 62
"""Past all that a timestamp of any store can hold."""


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    with postgres_world(request.getfixturevalue("postgres_url")) as one:
        yield one


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[PostgresWorld]:
    with postgres_world(postgres_url) as one:
        yield one


def versions(events: list[LoggedEvent]) -> list[int]:
    return [event.version for event in events]


def anna(*event_ms: int) -> list[Given]:
    return [Given("anna", T0 + ms, number) for number, ms in enumerate(event_ms)]


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(Unresolvable) as caught:
        act()
    return caught.value.code


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


# --- horizons


def test_what_was_known_is_what_was_recorded_by_then_to_the_millisecond(world: World) -> None:
    world.record(anna(0, 0), T0 + 10)
    world.record(anna(0, 0, 0), T0 + 20)
    world.record(anna(0), T0 + 20)
    world.record(anna(0), T0 + 30)

    def known(ms: int) -> int:
        horizon = world.archive.horizon(AsOf.known(T0 + ms))
        assert horizon._replace(position=0) == (world.archive.head("Rider").log_id, "known", 0, None, T0 + ms)
        return horizon.position

    assert [known(ms) for ms in (-T0, -1, 0, 9, 10, 11, 19, 20, 21, 29, 30, 31)] == [0, 0, 0, 0, 2, 2, 2, 6, 6, 6, 7, 7]


def test_before_all_times_nothing_was_known(world: World) -> None:
    world.record(anna(0), T0)
    assert world.archive.horizon(AsOf.known(-FAR)).position == 0
    assert world.archive.horizon(AsOf.known(0)).position == 0


@pytest.mark.parametrize("ahead_ms", [0, 1, FAR])
def test_what_will_be_known_is_not_known_yet(world: World, ahead_ms: int) -> None:
    world.record(anna(0), T0)
    assert refused(lambda: world.archive.horizon(AsOf.known(world.now_ms + ahead_ms))) == "instant_in_future"
    assert world.archive.horizon(AsOf.known(world.now_ms - 1)).position == 1


def test_a_log_that_is_ahead_of_the_clock_is_believed(world: World) -> None:
    world.record(anna(0), world.now_ms + 50)
    assert world.archive.horizon(AsOf.known(world.now_ms + 49)).position == 0


def test_an_empty_log_has_the_position_0_and_the_past(world: World) -> None:
    log_id = world.archive.head("Rider").log_id
    assert world.archive.horizon(AsOf.at_position(0)) == (log_id, "position", 0, None, 0)
    assert world.archive.horizon(AsOf.happened(T0)) == (log_id, "event", 0, T0, T0)
    assert world.archive.horizon(AsOf.known(T0)) == (log_id, "known", 0, None, T0)
    assert refused(lambda: world.archive.horizon(AsOf.at_position(1))) == "unknown_position"


def test_a_position_is_as_old_as_its_event(world: World) -> None:
    world.record(anna(0, 0), T0 + 10)
    world.record(anna(0), T0 + 20)
    log_id = world.archive.head("Rider").log_id
    found = [world.archive.horizon(AsOf.at_position(position)) for position in range(4)]
    assert found == [(log_id, "position", p, None, ms) for p, ms in enumerate((0, T0 + 10, T0 + 10, T0 + 20))]


@pytest.mark.parametrize("position", [-1, 3, FAR, 1 << 80])
def test_a_position_that_the_log_does_not_have_is_refused(world: World, position: int) -> None:
    world.record(anna(0, 0), T0)
    assert refused(lambda: world.archive.horizon(AsOf.at_position(position))) == "unknown_position"
    assert refused(lambda: world.archive.horizon(AsOf.happened(T0, position))) == "unknown_position"


def test_what_had_happened_is_of_all_that_is_recorded_now_or_up_to_a_position(world: World) -> None:
    world.record(anna(0, 0), T0)
    log_id = world.archive.head("Rider").log_id
    assert world.archive.horizon(AsOf.happened(T0 - 5)) == (log_id, "event", 2, T0 - 5, T0 - 5)
    assert world.archive.horizon(AsOf.happened(T0 - 5, 1)) == (log_id, "event", 1, T0 - 5, T0 - 5)
    assert world.archive.horizon(AsOf.happened(T0 - 5, 0)).position == 0


def test_a_log_whose_first_part_was_detached_says_so(world: World) -> None:
    for number in range(PARTITION + 2):
        world.record(anna(0), T0 + number)
    world.detach()

    def known(ms: int) -> int:
        return world.archive.horizon(AsOf.known(T0 + ms)).position

    assert refused(lambda: known(-1)) == refused(lambda: known(PARTITION - 1)) == "log_begins_later"
    assert [known(PARTITION), known(PARTITION + 1)] == [PARTITION + 1, PARTITION + 2]
    assert refused(lambda: world.archive.horizon(AsOf.at_position(PARTITION))) == "log_begins_later"
    assert world.archive.horizon(AsOf.at_position(PARTITION + 1)).at_ms == T0 + PARTITION


def test_a_log_of_which_nothing_is_left_does_not_pass_for_one_without_events(world: World) -> None:
    world.record(anna(*range(PARTITION)), T0)
    world.detach()
    assert refused(lambda: world.archive.horizon(AsOf.known(T0 + 5))) == "log_begins_later"
    assert refused(lambda: world.archive.horizon(AsOf.at_position(1))) == "log_begins_later"


# --- the answer stays what it is


def test_invariant_11_a_writer_whose_clock_stepped_back_records_after_an_instant_that_was_asked_for(
    world: World,
) -> None:
    world.record(anna(0), T0)
    for asked in (T0, T0 + 100, world.now_ms - 1):
        before = world.archive.horizon(AsOf.known(asked))
        world.record(anna(0, 0), T0 - 50_000)
        assert world.archive.horizon(AsOf.known(asked)) == before
        assert world.archive.horizon(AsOf.at_position(before.position + 1)).at_ms == asked + 1


def test_resolving_an_instant_twice_moves_the_log_no_further(world: World) -> None:
    world.record(anna(0), T0)
    for _ in range(3):
        world.archive.horizon(AsOf.known(T0 + 100))
    world.archive.horizon(AsOf.known(T0 + 50))
    world.record(anna(0), T0)
    assert world.archive.horizon(AsOf.at_position(2)).at_ms == T0 + 101


def test_invariant_11_an_instant_waits_for_the_writer_that_may_still_record_before_it(postgres: PostgresWorld) -> None:
    """Its transaction has taken its time before the instant, and commits after it was asked for."""
    postgres.record(anna(0), T0)
    inside, go_on = threading.Event(), threading.Event()

    def clock() -> int:
        inside.set()
        assert go_on.wait(20)
        return T0 + 5

    recorder = EventRecorder(postgres.writer, clock=clock)
    late = threading.Thread(target=recorder.insert_events, args=[[postgres.event(Given("ben", T0))]])
    late.start()
    assert inside.wait(20)
    found: list[int] = []
    resolver = threading.Thread(target=lambda: found.append(postgres.archive.horizon(AsOf.known(T0 + 10)).position))
    resolver.start()
    postgres.until_waiting(1)
    go_on.set()
    late.join(20)
    resolver.join(20)
    assert found == [2]


def test_a_writer_that_is_stopped_does_not_hold_who_asks_for_the_past(postgres: PostgresWorld) -> None:
    postgres.record(anna(0), T0)
    with postgres.writer.connect() as stopped, stopped.begin():
        stopped.execute(text("SELECT FROM log_head FOR UPDATE"))
        # What lies before the last event needs nobody's lock.
        assert postgres.archive.horizon(AsOf.known(T0 - 1)).position == 0
        began = time.monotonic()
        with pytest.raises(PortUnavailable):
            postgres.archive.horizon(AsOf.known(T0))
        assert time.monotonic() - began < 10
    assert postgres.archive.horizon(AsOf.known(T0)).position == 1


def test_a_resolver_that_is_stopped_does_not_hold_the_writers(postgres: PostgresWorld) -> None:
    """It has taken the log's lock like a writer, so the same bounds must throw it out."""
    postgres.record(anna(0), T0)
    with postgres.reader.connect() as connection, connection.begin():
        resolve(connection, AsOf.known(T0), lambda: postgres.now_ms)
        bounds = [
            connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("idle_in_transaction_session_timeout", "statement_timeout")
        ]
    assert bounds == ["10s", "10s"]
    with postgres.reader.connect() as connection:
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "0"


def test_invariant_11_instants_hold_whatever_writers_and_resolvers_do_at_once(postgres: PostgresWorld) -> None:
    """Two writers with clocks that jump about, two resolvers: every answer is the same when it is asked again."""
    answers: list[tuple[int, int]] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def writing(name: str, seed: int) -> None:
        chance = random.Random(seed)
        recorder = EventRecorder(postgres.writer, clock=lambda: T0 + chance.randrange(2_000))
        for _ in range(60):
            events = [postgres.event(Given(name, T0)) for _ in range(chance.randint(1, 3))]
            recorder.insert_events(events)

    def resolving(seed: int) -> None:
        chance = random.Random(seed)
        while not done.is_set():
            at_ms = T0 + chance.randrange(2_500)
            answers.append((at_ms, postgres.archive.horizon(AsOf.known(at_ms)).position))

    def guarded(act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 (told by the test)
            failures.append(error)

    def act(call: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=guarded, args=[call])
        thread.start()
        return thread

    writers = [act(lambda: writing("anna", 1)), act(lambda: writing("ben", 2))]
    resolvers = [act(lambda: resolving(3)), act(lambda: resolving(4))]
    for thread in writers:
        thread.join(60)
    done.set()
    for thread in resolvers:
        thread.join(60)
    assert failures == []
    assert len(answers) > 50
    with postgres.writer.connect() as connection:
        query = text("SELECT (extract(epoch FROM recorded_at) * 1000)::bigint FROM events ORDER BY position")
        recorded = list(connection.execute(query).scalars())
    assert recorded == sorted(recorded)
    wrong = [(at, p) for at, p in answers if p != sum(ms <= at for ms in recorded)]
    assert wrong == []


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
