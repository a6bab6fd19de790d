"""Reads recorded events by position for subscribers: contiguous, filtered, in pages of bounded work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from domain.identifiers import aggregate_id
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.log_cursor import REFUSED_MARK, LogCursor, mark_of
from infrastructure.event_store.log_head import LogHeadRow, read_head
from infrastructure.postgres.errors import unavailable_as_port_error

STREAMS: Final = ("Rider", "Delivery")

MAX_SCANNED_POSITIONS: Final = 20_000
"""Positions that one page of a stream or type may pass. A rare type must not make one request read the whole log."""

MAX_SCANNED_VERSIONS: Final = 5_000
"""Versions of a key that one page of one of its types may pass: they are read by index, from all over the log."""

MILLISECONDS_OF: Final = "(extract(epoch FROM {0}) * 1000)::bigint"
EVENT_COLUMNS: Final = (
    "position, stream, shard, seq, aggregate_key, version, event_type, event_id::text, command_id, caused_by::text,"
    f" {MILLISECONDS_OF.format('event_time')}, {MILLISECONDS_OF.format('recorded_at')}, payload"
)
"""The columns of a RecordedEvent, in the order that ``recorded_events`` reads them."""

_RANGE = text(
    f"SELECT {EVENT_COLUMNS} FROM events WHERE position > :after AND position <= :upto"  # noqa: S608
    " AND (CAST(:stream AS text) IS NULL OR stream = :stream)"
    " AND (CAST(:type AS text) IS NULL OR event_type = :type) ORDER BY position LIMIT :limit"
)
_OF_KEY = text(
    f"SELECT {EVENT_COLUMNS} FROM events WHERE aggregate_id = :aggregate AND version > :version"  # noqa: S608
    " AND version <= :last AND position <= :upto"
    " AND (CAST(:type AS text) IS NULL OR event_type = :type) ORDER BY version LIMIT :limit"
)
_POSITION_OF = text(
    "SELECT position FROM events WHERE aggregate_id = :aggregate AND version >= :version ORDER BY version LIMIT 1"
)
_AT = text(f"SELECT event_id::text, {MILLISECONDS_OF.format('recorded_at')} FROM events WHERE position = :position")  # noqa: S608
_FIRST = text("SELECT position FROM events ORDER BY position LIMIT 1")


@dataclass(slots=True)
class RecordedEvent:
    """One event with all its columns; times in epoch milliseconds. ``encoded``: its JSON, once it was made."""

    position: int
    stream: str
    shard: int
    seq: int
    key: str
    version: int
    event_type: str
    event_id: str
    command_id: str | None
    caused_by: str | None
    event_time_ms: int
    recorded_at_ms: int
    payload: bytes
    encoded: bytes | None = field(default=None, compare=False)

    def cursor(self) -> LogCursor:
        """The place in the log after which a client that has this event goes on."""
        return LogCursor(self.position, mark_of(self.event_id, self.recorded_at_ms))


class EventSelection(NamedTuple):
    """Which events a subscriber wants; None = all."""

    stream: str | None = None
    key: str | None = None
    event_type: str | None = None

    def matches(self, event: RecordedEvent) -> bool:
        """Whether the event is one of the selection."""
        return (
            (self.stream is None or event.stream == self.stream)
            and (self.key is None or event.key == self.key)
            and (self.event_type is None or event.event_type == self.event_type)
        )


class EventPage(NamedTuple):
    """Events of a selection after ``after``, which is verified.

    ``upto``: every event up to this position is in this page, in an earlier one, or not of the selection. The next page
    starts after it. ``head``: the last position of the log when the page was read.
    """

    events: list[RecordedEvent]
    after: LogCursor
    upto: LogCursor
    head: int
    log_id: str


UNKNOWN_POSITION: Final = "unknown_position"
LOG_REPLACED: Final = "log_replaced"


class PositionNotInLog(Exception):
    """The log does not have the events after this position. ``code`` is for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class EventPages:
    """Reads pages of events. Blocks; safe to share between threads."""

    def __init__(self, engine: Engine, max_scanned_versions: int = MAX_SCANNED_VERSIONS) -> None:
        self._engine = engine
        self._max_scanned_versions = max_scanned_versions
        self._archive = PostgresArchive(engine)

    def head(self) -> LogHeadRow:
        """The head of the log. Raises PortUnavailable."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return read_head(connection)

    def start(self, after: LogCursor | None) -> EventPage:
        """The empty page at ``after``, or at the head if it is None. Raises as ``page``."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            head = read_head(connection)
            wanted = LogCursor(head.position) if after is None else after
            begin = _verified(connection, wanted, head.position)
            return EventPage([], begin, begin, head.position, str(head.log_id))

    def page(self, selection: EventSelection, after: LogCursor, limit: int) -> EventPage:
        """The first events of ``selection`` after ``after``, at most ``limit``.

        Raises:
            PositionNotInLog: the position is beyond the head, the events after it were detached, or the event at the
                position is another one than the cursor's.
            PortUnavailable: Postgres does not answer.
        """
        with unavailable_as_port_error(), self._engine.connect() as connection:
            # The head first: positions are assigned and committed in order, so all events up to it are visible.
            head = read_head(connection)
            begin = _verified(connection, after, head.position)
            upto = head.position
            if selection.key is None:
                upto = min(upto, begin.position + (MAX_SCANNED_POSITIONS if selection != EventSelection() else limit))
                found = _read(connection, _RANGE, after=begin.position, upto=upto, limit=limit, **_filters(selection))
        if selection.key is not None:
            found, upto = self._of_key(selection, begin.position, upto, limit)
        if len(found) == limit:
            upto = found[-1].position
        return EventPage(found, begin, self._reached(found, begin, upto), head.position, str(head.log_id))

    def between(self, after: int, upto: int, limit: int) -> list[RecordedEvent]:
        """All events after ``after`` up to ``upto``, at most ``limit``. Raises PortUnavailable."""
        with unavailable_as_port_error(), self._engine.connect() as connection:
            everything = _filters(EventSelection())
            return _read(connection, _RANGE, after=after, upto=upto, limit=limit, **everything)

    def _reached(self, found: list[RecordedEvent], begin: LogCursor, upto: int) -> LogCursor:
        if found and found[-1].position == upto:
            return found[-1].cursor()
        if upto == begin.position:
            return begin
        with unavailable_as_port_error(), self._engine.connect() as connection:
            return _cursor_at(connection, upto)

    def _of_key(self, selection: EventSelection, after: int, upto: int, limit: int) -> tuple[list[RecordedEvent], int]:
        """The key's events by the index of its versions, and the position up to which they are read.

        Versions of before ``after`` are not read.
        """
        key = selection.key
        assert key is not None
        found: list[RecordedEvent] = []
        if not is_storable(key):
            return found, upto
        reached = upto
        for stream in STREAMS if selection.stream is None else (selection.stream,):
            version, last = (self._archive.last_version(stream, key, position) for position in (after, upto))
            aggregate = aggregate_id(stream, key)
            with unavailable_as_port_error(), self._engine.connect() as connection:
                if last - version > self._max_scanned_versions:
                    last = version + self._max_scanned_versions
                    position = connection.execute(_POSITION_OF, {"aggregate": aggregate, "version": last}).scalar()
                    # Without a position the events were detached meanwhile: the next page says so.
                    reached = min(reached, after if position is None else int(position))
                values = {"aggregate": aggregate, "version": version, "last": last, "upto": upto, "limit": limit}
                found += _read(connection, _OF_KEY, **values, type=selection.event_type)
        found = [event for event in found if event.position <= reached]
        return sorted(found, key=lambda event: event.position)[:limit], reached


def is_storable(key: str) -> bool:
    """Whether Postgres can hold the text: neither NUL nor a lone surrogate. No recorded key has them."""
    try:
        return "\0" not in key and bool(key.encode() or True)
    except UnicodeEncodeError:
        return False


def _filters(selection: EventSelection) -> dict[str, Any]:
    return {"stream": selection.stream, "type": selection.event_type}


def _check_position(connection: Connection, after: int, head: int) -> None:
    if not 0 <= after <= head:
        raise PositionNotInLog(UNKNOWN_POSITION, f"the log has the positions 1 to {head:,}, not {after:,}")
    if after == head:
        return
    first = connection.execute(_FIRST).scalar_one_or_none()
    if first is None or first > after + 1:
        begins = head + 1 if first is None else first
        raise PositionNotInLog(
            "log_begins_later", f"the events after position {after:,} were detached: the log begins at {begins:,}"
        )


def _verified(connection: Connection, after: LogCursor, head: int) -> LogCursor:
    """The cursor with the mark of the event at its position. Raises PositionNotInLog."""
    _check_position(connection, after.position, head)
    found = _cursor_at(connection, after.position)
    if after.mark == REFUSED_MARK or (after.mark and found.mark and after.mark != found.mark):
        raise PositionNotInLog(
            LOG_REPLACED,
            f"position {after.position:,} has another event than before: the log was restored to an older state, or is"
            " another one",
        )
    # The event itself may be detached while those after it are not: then the mark cannot be verified.
    return found if found.mark else after


def _cursor_at(connection: Connection, position: int) -> LogCursor:
    row = connection.execute(_AT, {"position": position}).one_or_none()
    return LogCursor(position) if row is None else LogCursor(position, mark_of(row[0], int(row[1])))


def _read(connection: Connection, query: Any, **values: Any) -> list[RecordedEvent]:
    return recorded_events(connection.execute(query, values).all())


def recorded_events(rows: Sequence[Any]) -> list[RecordedEvent]:
    """The events of rows that were selected with EVENT_COLUMNS."""
    columns = ([*row[:-1], bytes(row[-1])] for row in rows)
    return [RecordedEvent(*values) for values in columns]
