"""What the commands need of an event store beyond the library's recorder, as ports and named values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent


class PingIdentity(NamedTuple):
    """What makes a ping the same one: rider, event time, event id (invariant 3)."""

    aggregate_id: UUID
    event_timestamp_ms: int
    event_id: str


class RecordedPayload(NamedTuple):
    """Where a recorded event stands in the log, and its framed bytes."""

    position: int
    payload: bytes


class RecordedRef(NamedTuple):
    """What an append recorded: ``events[i]`` at ``positions[i]``."""

    positions: range
    events: Sequence[StoredEvent]


class OrderBroken(IntegrityError):
    """An event named a time of recording that the log's order does not allow; nothing of its batch was recorded.

    ``given_ms`` must lie from ``earliest_ms`` (the event before it) to ``latest_ms`` (the clock); epoch milliseconds.
    ``position`` is the last one in the log.
    """

    def __init__(self, given_ms: int, earliest_ms: int, latest_ms: int, position: int) -> None:
        self.given_ms, self.earliest_ms, self.latest_ms, self.position = given_ms, earliest_ms, latest_ms, position
        wrong = (
            f"before the event that precedes it, of {earliest_ms}"
            if given_ms < earliest_ms
            else f"ahead of the clock, {latest_ms}"
        )
        super().__init__(
            f"the log's order would break: an event to be recorded as of {given_ms} lies {wrong}"
            f" (epoch milliseconds; the log ends at position {position})"
        )


class ClockAhead(PersistenceError):
    """This machine's clock is ``ahead_ms`` milliseconds ahead of the database's; nothing was recorded."""

    def __init__(self, ahead_ms: int) -> None:
        self.ahead_ms = ahead_ms
        super().__init__(
            f"the clock of this machine is {ahead_ms / 1000:,.0f} s ahead of the database's, nothing was recorded:"
            " set the clock (NTP), then send the request again"
        )


class LogRestored(PersistenceError):
    """The log is not the one that this writer has seen: it was set back, or replaced. Nothing was recorded.

    Whatever was decided or cached by what it held is worth nothing (invariant 14); from here on the writer knows the
    log as it is, and the batch may be decided anew.
    """


Redecide = Callable[[set[UUID]], Sequence[StoredEvent]]
"""Called inside the log's lock with the aggregates that changed under the batch; returns the whole batch anew."""


class EventStoreRecorder(Protocol):
    """The event store as the Riders application sees it."""

    def append(self, events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        """Raises LogRestored, OrderBroken, ClockAhead; nothing of the batch is recorded then."""
        ...

    def with_recorded_at(self, event: StoredEvent, recorded_at_ms: int) -> StoredEvent:
        """``event``, to be recorded as of that time (epoch milliseconds) and not of the clock; see OrderBroken."""
        ...


class EventHistory(Protocol):
    """Looks back into the log for commands that need more than an aggregate's own state."""

    def find_pings(self, identities: Sequence[PingIdentity]) -> dict[PingIdentity, RecordedPayload]: ...

    def streams(self, aggregates: Iterable[UUID]) -> dict[UUID, list[StoredEvent]]:
        """The latest snapshot, if any, and all later events of each aggregate; absent = no event."""
        ...
