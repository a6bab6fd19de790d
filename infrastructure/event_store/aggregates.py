"""The library's InfrastructureFactory over our recorder, mapper and snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    Mapper,
    MapperDeserialisationError,
    OperationalError,
    ProcessRecorder,
    ProgrammingError,
    StoredEvent,
    TrackingRecorder,
    Transcoder,
)
from eventsourcing.utils import Environment
from sqlalchemy import Engine, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.exc import SQLAlchemyError

from domain.events.contracts import Codec, UndecodableError
from domain.riders.rider import RIDER_EVENTS, Rider, event_of
from infrastructure.event_store.queries import of_versions
from infrastructure.postgres.errors import as_library_errors
from infrastructure.postgres.schema import snapshots
from infrastructure.schema_registry.client import RegistryUnavailable

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


class SnapshotRecorder(AggregateRecorder):
    """Not part of the log: a snapshot lost is a slower load; one that is there already raises IntegrityError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def insert_events(self, stored_events: Sequence[StoredEvent], **_kwargs: Any) -> None:
        if not stored_events:
            return
        rows = [
            {
                "aggregate_id": event.originator_id,
                "version": event.originator_version,
                "topic": event.topic,
                "state": event.state,
            }
            for event in stored_events
        ]
        with as_library_errors(), self._engine.begin() as connection:
            connection.execute(insert(snapshots), rows)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        c = snapshots.c
        query = select(c.version, c.topic, c.state).where(c.aggregate_id == originator_id)
        query = of_versions(query, c.version, gt=gt, lte=lte, desc=desc, limit=limit)
        with as_library_errors(), self._engine.connect() as connection:
            return [StoredEvent(originator_id, row[0], row[1], bytes(row[2])) for row in connection.execute(query)]

    def latest(self, aggregates: Sequence[UUID]) -> dict[UUID, StoredEvent]:
        """The newest snapshot of each of many aggregates; absent = none."""
        c = snapshots.c
        query = (
            select(c.aggregate_id, c.version, c.topic, c.state)
            .where(c.aggregate_id.in_(aggregates))
            .ext(distinct_on(c.aggregate_id))
            .order_by(c.aggregate_id, c.version.desc())
        )
        with as_library_errors(), self._engine.connect() as connection:
            return {row[0]: StoredEvent(row[0], row[1], row[2], bytes(row[3])) for row in connection.execute(query)}


class AvroMapper(Mapper[UUID]):
    """Events of our aggregates as Avro; anything else (snapshots) as the library's own JSON."""

    def __init__(self, transcoder: Transcoder, codec: Codec) -> None:
        super().__init__(transcoder)
        self._codec = codec

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Raises OperationalError while the schema registry is away and an id is not known yet."""
        if not isinstance(domain_event, Rider.Event):
            return super().to_stored_event(domain_event)
        try:
            state = self._codec.encode(domain_event.RECORD, domain_event.data())
        except (RegistryUnavailable, SQLAlchemyError) as error:
            # After a restore ids are asked for again: a phone is told to send its pings again, not that we have failed.
            raise OperationalError(f"no schema id for {domain_event.RECORD}: {error}") from error
        event_id = domain_event.event_id
        return LogEvent(
            domain_event.originator_id,
            domain_event.originator_version,
            domain_event.RECORD,
            state,
            Rider.AGGREGATE_TYPE,
            domain_event.rider_id,
            UUID(event_id),
            domain_event.event_timestamp_ms,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """The event of a stored one.

        Raises MapperDeserialisationError for bytes that no contract reads, and for a record that is no event of this
        type: another one's, or with a time that no calendar has.
        """
        if stored_event.topic not in RIDER_EVENTS:
            return super().to_domain_event(stored_event)
        aggregate = stored_event.originator_id
        assert isinstance(aggregate, UUID)
        try:
            data = self._codec.decode(stored_event.state)
            return event_of(stored_event.topic, aggregate, stored_event.originator_version, data)
        except (UndecodableError, KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            raise MapperDeserialisationError(
                f"{stored_event.topic} of {aggregate} at version {stored_event.originator_version}: {error}"
            ) from error


class EventStoreFactory(InfrastructureFactory[TrackingRecorder]):
    """Hands the library what it is given. This log has no tracking recorders: sinks keep fences instead."""

    def __init__(self, recorder: ApplicationRecorder, snapshots: AggregateRecorder, codec: Codec) -> None:
        super().__init__(Environment("Riders"))
        self._recorder = recorder
        self._snapshots = snapshots
        self._codec = codec

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        return AvroMapper(transcoder or self.transcoder(), self._codec)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        return self._snapshots if purpose == "snapshots" else self._recorder

    def application_recorder(self) -> ApplicationRecorder:
        return self._recorder

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> TrackingRecorder:
        raise ProgrammingError("projections keep fences with their data; there is no tracking recorder")

    def process_recorder(self) -> ProcessRecorder:
        raise ProgrammingError("projections keep fences with their data; there is no process recorder")

    def is_snapshotting_enabled(self) -> bool:
        return True
