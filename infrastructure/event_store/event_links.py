"""Finds recorded events by what links them: position, command, cause, neighbours of a key. Each query is bounded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, TextClause, text

from domain.identifiers import aggregate_id
from infrastructure.event_store.event_pages import EVENT_COLUMNS, RecordedEvent, recorded_events
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.timestamps import storable_ms
from read_models.generations import BY_INDEX

MAX_LINKED_EVENTS: Final = 100
"""Events that one query returns (invariant 15). A command on an order records at most four, but one Idempotency-Key may
be used for a million orders."""

MAX_COMMAND_VERSIONS: Final = 20
"""Versions of a key on both sides of an event among which the others of its command are: they have one transaction."""

MAX_BATCH_POSITIONS: Final = 2_000
"""Positions on both sides of an event of a command that hold the others of its transaction: a batch of commands records
fewer events."""

MAX_SEARCHED_EVENTS: Final = 5_000
"""Events of a key, the latest by the time as sent, among which an event id is searched: of a ping every five seconds,
those of seven hours. No index begins with an event id, since it would cost every recorded ping one more entry."""

_OF_POSITIONS = text(f"SELECT {EVENT_COLUMNS} FROM events WHERE position = ANY(CAST(:positions AS bigint[]))")  # noqa: S608
_OF_VERSIONS = text(
    f"SELECT {EVENT_COLUMNS} FROM events"  # noqa: S608
    " WHERE aggregate_id = :aggregate AND version >= :first AND version <= :last ORDER BY version"
)
# OFFSET 0 and the inner LIMIT keep the planner from walking another index in the wanted order, and passing the whole
# log: it does not know how few rows of one cause or command there are.
_OF_CAUSE = text(
    f"SELECT * FROM (SELECT {EVENT_COLUMNS} FROM events"  # noqa: S608
    " WHERE caused_by = CAST(:event_id AS uuid) AND caused_by IS NOT NULL LIMIT :limit OFFSET 0) s ORDER BY position"
)
_OF_COMMAND = text(
    f"SELECT * FROM (SELECT {EVENT_COLUMNS} FROM events"  # noqa: S608
    " WHERE command_id = :command_id AND command_id IS NOT NULL LIMIT :limit OFFSET 0) s ORDER BY position"
)
_OF_COMMAND_ON_KEY = text(
    f"SELECT * FROM (SELECT {EVENT_COLUMNS} FROM events"  # noqa: S608
    " WHERE command_id = :command_id AND aggregate_id = :aggregate AND command_id IS NOT NULL LIMIT :limit OFFSET 0) s"
    " ORDER BY position"
)
_NEAR = text(
    f"SELECT {EVENT_COLUMNS} FROM events"  # noqa: S608
    " WHERE position >= :first AND position <= :last AND event_id = CAST(:event_id AS uuid) LIMIT 1"
)
_BY_ID = text(
    "SELECT e.* FROM (SELECT event_id, event_time FROM (SELECT event_id, event_time FROM events"  # noqa: S608
    "  WHERE aggregate_id = :aggregate"
    "  AND event_time <= timestamptz 'epoch' + :by_ms * interval '1 millisecond'"
    "  ORDER BY event_time DESC, event_id DESC LIMIT :limit) newest"
    " WHERE event_id = ANY(CAST(:ids AS uuid[]))) found"
    f" CROSS JOIN LATERAL (SELECT {EVENT_COLUMNS} FROM events WHERE aggregate_id = :aggregate"
    "  AND event_time = found.event_time AND event_id = found.event_id) e ORDER BY e.position"
)


class Neighbours(NamedTuple):
    """The events of the same key before and after one; None at the ends of its stream."""

    before: RecordedEvent | None
    after: RecordedEvent | None


class FoundEvents(NamedTuple):
    """Events by position, at most MAX_LINKED_EVENTS; ``more``: there are others."""

    events: list[RecordedEvent]
    more: bool


NO_EVENTS: Final = FoundEvents([], False)


class EventLinks:
    """Blocks; safe to share between threads. Every method raises PortUnavailable.

    Texts are ones that Postgres can take (``event_pages.is_storable``).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def at(self, positions: Collection[int]) -> dict[int, RecordedEvent]:
        """The events at these positions. One that is not recorded, or was detached, is absent."""
        if not positions:
            return {}
        found = self._read(_OF_POSITIONS, positions=sorted(storable_positions(positions)))
        return {event.position: event for event in found}

    def upto(self, last: RecordedEvent, count: int) -> list[RecordedEvent]:
        """The latest ``count`` events of the key up to ``last``, by version."""
        return self._versions(last, last.version - count + 1, last.version)

    def neighbours(self, event: RecordedEvent) -> Neighbours:
        """The key's events directly before and after ``event``."""
        found = self._versions(event, event.version - 1, event.version + 1)
        by_version = {one.version: one for one in found}
        return Neighbours(by_version.get(event.version - 1), by_version.get(event.version + 1))

    def of_same_command(self, event: RecordedEvent) -> list[RecordedEvent]:
        """The other events of the key that the event's command recorded."""
        if event.command_id is None:
            return []
        around = event.version - MAX_COMMAND_VERSIONS, event.version + MAX_COMMAND_VERSIONS
        near = self._versions(event, *around)
        return [one for one in near if one.command_id == event.command_id and one.version != event.version]

    def effects(self, event_id: str) -> FoundEvents:
        """The events that name this one as their cause."""
        return _bounded(self._read(_OF_CAUSE, event_id=event_id, limit=MAX_LINKED_EVENTS + 1))

    def of_command(self, command_id: str, stream: str, key: str | None) -> FoundEvents:
        """The events of a command, also those of ``key`` in ``stream`` alone: one key may name many commands."""
        values: dict[str, Any] = {"command_id": command_id, "limit": MAX_LINKED_EVENTS + 1}
        if key is None:
            return _bounded(self._read(_OF_COMMAND, **values))
        return _bounded(self._read(_OF_COMMAND_ON_KEY, **values, aggregate=aggregate_id(stream, key)))

    def near(self, position: int, event_id: str) -> RecordedEvent | None:
        """The event with this id, on whatever key, at most MAX_BATCH_POSITIONS from a position; None if there is none.

        So is found what was recorded in the same transaction. A key of many commands does not make it slow.
        """
        first, last = position - MAX_BATCH_POSITIONS, position + MAX_BATCH_POSITIONS
        found = self._read(_NEAR, first=first, last=last, event_id=event_id)
        return found[0] if found else None

    def by_id(self, stream: str, key: str, event_ids: Collection[str], by_ms: int) -> dict[str, RecordedEvent]:
        """The key's events with these ids that were sent to have happened by ``by_ms`` (epoch milliseconds).

        Only the latest MAX_SEARCHED_EVENTS up to then are searched. Of a client that sent one id with two times, the
        event that was recorded last is returned.
        """
        if not event_ids:
            return {}
        values = {"aggregate": aggregate_id(stream, key), "by_ms": storable_ms(by_ms), "ids": sorted(event_ids)}
        return {event.event_id: event for event in self._read(_BY_ID, **values, limit=MAX_SEARCHED_EVENTS)}

    def _versions(self, event: RecordedEvent, first: int, last: int) -> list[RecordedEvent]:
        return self._read(_OF_VERSIONS, aggregate=aggregate_id(event.stream, event.key), first=first, last=last)

    def _read(self, query: TextClause, **values: Any) -> list[RecordedEvent]:
        with unavailable_as_port_error(), self._engine.connect() as connection:
            connection.execute(BY_INDEX)
            return recorded_events(connection.execute(query, values).all())


def storable_positions(positions: Collection[int]) -> list[int]:
    """Those that a bigint can hold: no other one is in the log."""
    return [position for position in positions if 0 <= position < 1 << 63]


def _bounded(found: Sequence[RecordedEvent]) -> FoundEvents:
    return FoundEvents(list(found[:MAX_LINKED_EVENTS]), len(found) > MAX_LINKED_EVENTS)
