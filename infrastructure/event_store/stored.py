"""The library's StoredEvent with the columns that the log, Kafka and the folds need beside it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

from eventsourcing.persistence import StoredEvent

UNCLASSIFIED = "Unclassified"
"""Stream of events that came through the library's plain port; no topic carries it."""


@dataclass(frozen=True)
class LogEvent(StoredEvent):
    """A StoredEvent of one of our aggregates: ``topic`` is its event type, ``state`` the framed Avro payload.

    ``event_id`` is a UUID; ``event_time_ms`` epoch milliseconds, and so is ``recorded_at_ms``: 0 leaves it to the
    writer's clock, anything else is history (``append.recorded_times`` says what it may be).
    """

    aggregate_type: str
    aggregate_key: str
    event_id: UUID
    event_time_ms: int
    recorded_at_ms: int = 0

    @property
    def stream(self) -> str:
        return self.aggregate_type


def classified(event: StoredEvent) -> LogEvent:
    """``event`` itself if it is ours; a plain one gets deterministic values for what it does not say."""
    if isinstance(event, LogEvent):
        return event
    originator = event.originator_id if isinstance(event.originator_id, UUID) else UUID(event.originator_id)
    return LogEvent(
        originator_id=originator,
        originator_version=event.originator_version,
        topic=event.topic,
        state=event.state,
        aggregate_type=UNCLASSIFIED,
        aggregate_key=str(originator),
        event_id=uuid5(originator, f"{event.topic}/{event.originator_version}"),
        event_time_ms=0,
    )
