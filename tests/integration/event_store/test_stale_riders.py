"""A batch whose riders another process has changed: many of them are loaded again before the log's lock is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from sqlalchemy import Engine, exc, text

from domain.events.contracts import Codec
from domain.riders.application import MAX_RELOADED_IN_LOCK, RELOADS_OUTSIDE_LOCK, Riders
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.unit.domain.given import NOW_MS, a_ping

CODEC = Codec(LocalSchemaIds())
NAMES = [f"rider-{number}" for number in range(3 * MAX_RELOADED_IN_LOCK)]


class WatchedHistory(PostgresHistory):
    """Notes of each load how many aggregates it reads, and whether a writer holds the log's lock meanwhile."""

    def __init__(self, engine: Engine, on_load: Callable[[], None] = lambda: None) -> None:
        super().__init__(engine)
        self.loads: list[tuple[int, bool]] = []
        self._watching = engine
        self._on_load = on_load

    def streams(self, aggregates: Iterable[UUID]) -> dict[UUID, list[StoredEvent]]:
        wanted, is_locked = list(aggregates), self._is_log_locked()
        self.loads.append((len(wanted), is_locked))
        found = super().streams(wanted)
        if not is_locked:
            self._on_load()
        return found

    def _is_log_locked(self) -> bool:
        try:
            with self._watching.begin() as connection:
                connection.execute(text("SELECT FROM log_head FOR UPDATE NOWAIT"))
        except exc.OperationalError:
            return True
        return False


def process(engine: Engine, history: PostgresHistory | None = None) -> Riders:
    recorder = EventRecorder(engine, partition_rows=1000)
    factory = EventStoreFactory(recorder, SnapshotRecorder(engine), CODEC)
    return Riders(factory, history or PostgresHistory(engine))


def record(riders: Riders, names: Iterable[str], after_ms: int) -> list[bool]:
    return [one.is_new for one in riders.record_pings([a_ping(name, NOW_MS + after_ms) for name in names])]


def test_regression_many_riders_that_another_process_changed_are_reloaded_outside_the_lock(engine: Engine) -> None:
    history = WatchedHistory(engine)
    one, other = process(engine, history), process(engine)
    record(one, NAMES, 0)
    record(other, NAMES, 1)
    history.loads.clear()
    assert record(one, NAMES, 1) == [False] * len(NAMES), "each ping is known from the other process"
    assert record(one, NAMES, 2) == [True] * len(NAMES)
    assert history.loads == [(len(NAMES), False)]


def test_of_a_batch_only_the_riders_that_were_changed_are_reloaded(engine: Engine) -> None:
    changed = NAMES[: MAX_RELOADED_IN_LOCK + 1]
    history = WatchedHistory(engine)
    one, other = process(engine, history), process(engine)
    record(one, NAMES, 0)
    record(other, changed, 1)
    history.loads.clear()
    assert record(one, NAMES, 1) == [name not in changed for name in NAMES]
    assert history.loads == [(len(changed), False)]


def test_a_few_riders_are_reloaded_inside_the_lock_at_once(engine: Engine) -> None:
    history = WatchedHistory(engine)
    one, other = process(engine, history), process(engine)
    record(one, NAMES, 0)
    record(other, NAMES[:MAX_RELOADED_IN_LOCK], 1)
    history.loads.clear()
    assert record(one, NAMES, 2) == [True] * len(NAMES)
    assert history.loads == [(MAX_RELOADED_IN_LOCK, True)]


def test_a_process_that_always_interferes_delays_a_batch_but_never_starves_it(engine: Engine) -> None:
    turns = iter(range(100, 200))
    other = process(engine)

    def interfere() -> None:
        record(other, NAMES, next(turns))

    history = WatchedHistory(engine, interfere)
    one = process(engine, history)
    assert record(one, NAMES, 1) == [True] * len(NAMES)
    outside, inside = history.loads[:-1], history.loads[-1]
    assert outside == [(len(NAMES), False)] * (1 + RELOADS_OUTSIDE_LOCK)
    assert inside == (len(NAMES), True)
