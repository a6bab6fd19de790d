"""Which riders and orders changed since a place in the log: those that its events name, and never another log's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.log_changes import RECENT_EVENTS, ChangedKeys, LogPlace, PostgresChangedLog
from infrastructure.event_store.log_cursor import LogCursor
from infrastructure.event_store.log_tail import LogReplaced
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.held_connection import HeldConnection

HOSTILE = 'a"}, \\ {[ \u202e chloë 🚲 \t\u2028'
EVENTS = [
    ("Rider", "anna", "GpsPing"),
    ("Rider", "ben", "GpsPing"),
    ("Rider", HOSTILE, "GpsPing"),
    ("Rider", "anna", "RiderRegistered"),
    ("Rider", "only-legs", "LegStarted"),
    ("Delivery", "order-1", "DeliveryPlaced"),
    ("Delivery", "anna", "DeliveryCancelled"),
    ("Delivery", HOSTILE, "DeliveryPlaced"),
]
"""Stream, key and type; a rider and an order may have one id."""


class SmallLog:
    """Records events without content."""

    def __init__(self, engine: Engine) -> None:
        self.events: list[tuple[str, str, str]] = []
        self._engine = engine
        self._recorder = EventRecorder(engine)

    def record(self, *events: tuple[str, str, str]) -> None:
        """Record the events in one transaction."""
        batch = []
        for stream, key, event_type in events:
            self.events.append((stream, key, event_type))
            version = sum(one[:2] == (stream, key) for one in self.events)
            identity = (aggregate_id(stream, key), version, event_type, b"", stream, key)
            batch.append(LogEvent(*identity, UUID(int=len(self.events)), 1_790_000_000_000))
        self._recorder.insert_events(batch)

    def restore(self, position: int) -> None:
        """Lose all events after ``position``, as a restore of an older backup does."""
        del self.events[position:]
        with self._engine.begin() as connection:
            for table in ("events", "log_numbers"):
                statement = text(f"DELETE FROM {table} WHERE position > :position")
                connection.execute(statement, {"position": position})

    def changed(self, after: int, upto: int) -> ChangedKeys:
        """What the events between two positions change."""
        found = ChangedKeys({}, {})
        for position, (stream, key, event_type) in enumerate(self.events[after:upto], start=after + 1):
            if stream == "Delivery":
                found.orders[key] = position  # type: ignore[index]
            elif event_type == "GpsPing":
                found.riders[key] = position  # type: ignore[index]
        return found


@pytest.fixture
def log(engine: Engine) -> SmallLog:
    return SmallLog(engine)


@pytest.fixture
def held(engine: Engine) -> Iterator[HeldConnection]:
    with closing(HeldConnection(engine)) as one:
        yield one


def beginning(changes: PostgresChangedLog) -> LogPlace:
    return changes.after(None).upto


def test_a_reader_gets_the_newest_position_of_each_key_and_passes_no_event(held: HeldConnection, log: SmallLog) -> None:
    """Given any batches of events, when they are read in turn or from any earlier place, then all keys are there."""
    changes, chance = PostgresChangedLog(held), random.Random(19)
    places = [beginning(changes)]
    assert places[0].cursor == LogCursor(0)
    for _ in range(25):
        log.record(*(chance.choice(EVENTS) for _ in range(chance.randrange(1, 12))))
        for place in (places[-1], chance.choice(places)):
            found = changes.after(place)
            assert found.keys == log.changed(place.cursor.position, len(log.events))
            assert found.upto.cursor.position == len(log.events)
        places.append(found.upto)
    assert changes.after(places[-1]).keys == ChangedKeys({}, {})


def test_a_first_read_begins_before_the_newest_events(held: HeldConnection, log: SmallLog) -> None:
    """A read model that is read as a whole may not have folded them yet."""
    changes = PostgresChangedLog(held)
    log.record(*[EVENTS[0]] * 2, *[EVENTS[1]] * RECENT_EVENTS)
    first = changes.after(None)
    assert (first.keys, first.upto.cursor.position) == (None, 2)
    assert changes.after(first.upto).keys == log.changed(2, len(log.events))


def test_a_reader_that_is_too_far_behind_is_sent_to_the_read_models(held: HeldConnection, log: SmallLog) -> None:
    changes = PostgresChangedLog(held, max_events=3)
    begin = beginning(changes)
    log.record(*EVENTS[:3])
    assert changes.after(begin).keys == log.changed(0, 3)
    log.record(EVENTS[3])
    assert changes.after(begin).keys is None


def test_events_that_were_detached_are_not_passed_as_if_they_were_none(
    engine: Engine, held: HeldConnection, log: SmallLog
) -> None:
    """Given a place whose next events were detached, when it is read, then what changed is not known."""
    changes = PostgresChangedLog(held)
    begin = beginning(changes)
    log.record(*EVENTS)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events WHERE position <= 2"))
    found = changes.after(begin)
    assert (found.keys, found.upto.cursor.position) == (None, len(EVENTS))
    assert changes.after(found.upto).keys == ChangedKeys({}, {})


@pytest.mark.parametrize("grown", [0, 1, 5], ids=["shorter", "as long", "longer"])
def test_a_restored_log_is_not_taken_for_the_one_of_before(
    engine: Engine, held: HeldConnection, log: SmallLog, grown: int
) -> None:
    changes = PostgresChangedLog(held)
    log.record(*EVENTS[:3])
    log.record(EVENTS[3])
    place = changes.after(beginning(changes)).upto
    log.restore(3)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_sleep(0.002)"))
    if grown:
        log.record(*[EVENTS[1]] * grown)
    with pytest.raises(LogReplaced):
        changes.after(place)
    assert changes.after(changes.after(None).upto).keys == log.changed(0, 3 + grown)


def test_invariant_14_another_log_with_the_same_positions_is_another_log(
    engine: Engine, held: HeldConnection, log: SmallLog
) -> None:
    changes = PostgresChangedLog(held)
    log.record(*EVENTS)
    place = changes.after(beginning(changes)).upto
    with engine.begin() as connection:
        connection.execute(text("UPDATE log_head SET log_id = :log_id"), {"log_id": uuid4()})
    with pytest.raises(LogReplaced):
        changes.after(place)
