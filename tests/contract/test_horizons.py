"""The Archive port, on every adapter: which part of the log an instant or a position means, finally."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import text

from infrastructure.event_store.archive import resolve
from infrastructure.event_store.recorder import EventRecorder
from projections.core.ports import PortUnavailable
from projections.replay.as_of import AsOf
from tests.contract.archives import FAR, anna, refused
from tests.support.worlds.archive_worlds import PARTITION, T0, Given, PostgresWorld, World


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


def test_a_stopped_writer_does_not_block_reads_of_the_past(postgres: PostgresWorld) -> None:
    postgres.record(anna(0), T0)
    with postgres.writer.connect() as stopped, stopped.begin():
        stopped.execute(text("SELECT FROM log_head FOR UPDATE"))
        # An instant before the last event needs no lock.
        assert postgres.archive.horizon(AsOf.known(T0 - 1)).position == 0
        began = time.monotonic()
        with pytest.raises(PortUnavailable):
            postgres.archive.horizon(AsOf.known(T0))
        assert time.monotonic() - began < 10
    assert postgres.archive.horizon(AsOf.known(T0)).position == 1


def test_a_stopped_resolver_does_not_block_the_writers(postgres: PostgresWorld) -> None:
    """It has taken the log's lock like a writer, so the same timeouts must terminate it."""
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
        except BaseException as error:  # noqa: BLE001 (reported by the test)
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
