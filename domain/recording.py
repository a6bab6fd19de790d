"""What the commands need of an event store beyond the library's recorder, as ports and named values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from eventsourcing.persistence import StoredEvent


class PingIdentity(NamedTuple):
    """What makes a ping the same one: rider, event time, event id (invariant 3)."""

    aggregate_id: UUID
    event_timestamp_ms: int
    event_id: str


class RecordedPayload(NamedTuple):
    """Where a recorded event stands in the log, and its framed bytes."""

    position: int
    payload: bytes


class Recorded(NamedTuple):
    """What an append recorded: ``events[i]`` at ``positions[i]``."""

    positions: range
    events: Sequence[StoredEvent]


Redecide = Callable[[set[UUID]], Sequence[StoredEvent]]
"""Called inside the log's lock with the aggregates that changed under the batch; returns the whole batch anew."""


class Recorder(Protocol):
    """The event store as the Riders application sees it."""

    def append(self, events: Sequence[StoredEvent], redecide: Redecide) -> Recorded: ...


class History(Protocol):
    """Looks back into the log for commands that need more than an aggregate's own state."""

    def find_pings(self, identities: Sequence[PingIdentity]) -> dict[PingIdentity, RecordedPayload]: ...

    def streams(self, aggregates: Iterable[UUID]) -> dict[UUID, list[StoredEvent]]:
        """The latest snapshot, if any, and all later events of each aggregate; absent = no event."""
        ...
