"""The port of the event store: what commands need beyond the library's recorder, with its named values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent


class PingIdentity(NamedTuple):
    """The identity of a ping: rider, event time, event id (invariant 3)."""

    aggregate_id: UUID
    event_timestamp_ms: int
    event_id: str


class CommandRef(NamedTuple):
    """The id of a command on one aggregate: its Idempotency-Key, or a made id."""

    aggregate_id: UUID
    command_id: str


class RecordedPayload(NamedTuple):
    """The position of a recorded event in the log, and its framed bytes."""

    position: int
    payload: bytes


class RecordedRef(NamedTuple):
    """What an append recorded: ``events[i]`` at ``positions[i]``."""

    positions: range
    events: Sequence[StoredEvent]


class RecordedVersion(NamedTuple):
    """The version of an aggregate's last event, and its position; 0 if that event was detached from the log."""

    version: int
    position: int


@dataclass(frozen=True)
class PositionedEvent(StoredEvent):
    """A stored event with its position in the log."""

    position: int


class OrderBroken(IntegrityError):
    """An event has a time of recording that the log's order does not allow; nothing of its batch was recorded.

    ``given_ms`` must be between ``earliest_ms`` (of the event before it) and ``latest_ms`` (the clock), in epoch
    milliseconds. ``position`` is the last one in the log.
    """

    def __init__(self, given_ms: int, earliest_ms: int, latest_ms: int, position: int) -> None:
        self.given_ms, self.earliest_ms, self.latest_ms, self.position = given_ms, earliest_ms, latest_ms, position
        wrong = (
            f"before the event that precedes it, of {earliest_ms}"
            if given_ms < earliest_ms
            else f"ahead of the clock, {latest_ms}"
        )
        super().__init__(
            f"the log's order would break: an event to be recorded as of {given_ms} is {wrong}"
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
    """The log is not the one that this writer has seen: it was restored or replaced. Nothing was recorded.

    All decisions and caches based on the previous log are invalid (invariant 14). The writer has adopted the log as it
    is now, so the batch may be decided again.
    """


Redecide = Callable[[set[UUID]], Sequence[StoredEvent]]
"""Called inside the log's lock with the aggregates that another writer changed; returns the re-decided whole batch."""


class EventStoreRecorder(Protocol):
    """The event store as the Riders application sees it."""

    def append(self, events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        """Append a batch atomically. Raises LogRestored, OrderBroken, ClockAhead; nothing is recorded then."""
        ...

    def with_recorded_at(self, event: StoredEvent, recorded_at_ms: int) -> StoredEvent:
        """``event`` with an explicit time of recording (epoch milliseconds) instead of the clock; see OrderBroken."""
        ...


class EventHistory(Protocol):
    """Reads the log for commands that need more than an aggregate's own state."""

    def find_pings(self, identities: Sequence[PingIdentity]) -> dict[PingIdentity, RecordedPayload]: ...

    def find_commands(self, refs: Sequence[CommandRef]) -> dict[CommandRef, list[StoredEvent]]:
        """The aggregate's events that the commands recorded; absent = none."""
        ...

    def streams(self, aggregates: Iterable[UUID]) -> dict[UUID, list[StoredEvent]]:
        """The latest snapshot, if any, and all later events (PositionedEvent) of each aggregate; absent = no event."""
        ...

    def latest(self, aggregates: Iterable[UUID]) -> dict[UUID, RecordedVersion]:
        """The last event of each aggregate as the log is now; absent = no event."""
        ...
