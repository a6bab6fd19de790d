"""Connects aggregates to the log: the library's InfrastructureFactory with our recorder, mapper and snapshots.

The mapper turns domain events into stored events and back. The state of a stored event is the framed Avro that goes to
Kafka untouched. ``LogEvent`` is the library's StoredEvent with the further columns that the log, Kafka and the folds
need. Snapshots of aggregates implement the library's AggregateRecorder port. They only bound the cost of loading.
"""

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

from domain.deliveries.events import DeliveryEvent
from domain.events.contracts import Codec, UndecodableError
from domain.recorded_events import AGGREGATE_OF, AggregateEvent, event_of
from domain.riders.events import RiderEvent
from domain.riders.rider import Rider
from infrastructure.event_store.queries import of_versions
from infrastructure.postgres.errors import as_library_errors
from infrastructure.postgres.schema import snapshots
from infrastructure.schema_registry.client import RegistryUnavailable

UNCLASSIFIED = "Unclassified"
"""Stream of events that are recorded through the library's plain port. No topic carries it."""


@dataclass(frozen=True)
class LogEvent(StoredEvent):
    """A StoredEvent of one of our aggregates. ``topic`` is its event type, ``state`` the framed Avro payload.

    ``event_time_ms`` and ``recorded_at_ms`` are epoch milliseconds. A ``recorded_at_ms`` of 0 means the writer's clock.
    Any other value is imported history; ``append.recorded_times`` defines which values are valid. A ping has neither
    ``command_id`` nor ``caused_by``, the event id of its cause.
    """

    aggregate_type: str
    aggregate_key: str
    event_id: UUID
    event_time_ms: int
    recorded_at_ms: int = 0
    command_id: str | None = None
    caused_by: UUID | None = None

    @property
    def stream(self) -> str:
        return self.aggregate_type

    def recorded_at(self, recorded_at_ms: int) -> LogEvent:
        """The event with this time of recording. ``dataclasses.replace`` takes five times as long."""
        return LogEvent(
            self.originator_id,
            self.originator_version,
            self.topic,
            self.state,
            self.aggregate_type,
            self.aggregate_key,
            self.event_id,
            self.event_time_ms,
            recorded_at_ms,
            self.command_id,
            self.caused_by,
        )


def classified(event: StoredEvent) -> LogEvent:
    """Returns a LogEvent as it is. A plain StoredEvent gets deterministic values for the columns that it lacks."""
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


def _cause(domain_event: AggregateEvent) -> tuple[str | None, UUID | None]:
    caused_by = domain_event.caused_by
    return domain_event.command_id or None, UUID(caused_by) if caused_by else None


class SnapshotRecorder(AggregateRecorder):
    """Stores snapshots of aggregates, which are not part of the log: a lost snapshot only makes a load slower.

    Storing a version that is already stored raises IntegrityError.
    """

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
        """Returns the newest snapshot of each aggregate. An aggregate without one is absent."""
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
    """Maps events of our aggregates to Avro, and anything else (snapshots) to the library's own JSON."""

    def __init__(self, transcoder: Transcoder, codec: Codec) -> None:
        super().__init__(transcoder)
        self._codec = codec

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Raises OperationalError while the schema registry is unavailable and an id is not known yet."""
        if not isinstance(domain_event, RiderEvent | DeliveryEvent):
            return super().to_stored_event(domain_event)
        data = domain_event.data()
        try:
            state = self._codec.encode(domain_event.RECORD, data)
        except (RegistryUnavailable, SQLAlchemyError) as error:
            # After a restore the ids are looked up again. 503 makes a phone send its pings again; 500 would not.
            raise OperationalError(f"no schema id for {domain_event.RECORD}: {error}") from error
        # One comparison for a ping: the writer maps thousands of them a second.
        is_ping = domain_event.RECORD == Rider.PingRecorded.RECORD
        command_id, caused_by = (None, None) if is_ping else _cause(domain_event)
        return LogEvent(
            domain_event.originator_id,
            domain_event.originator_version,
            domain_event.RECORD,
            state,
            AGGREGATE_OF[domain_event.RECORD].AGGREGATE_TYPE,
            domain_event.key,
            UUID(data["event_id"]),
            domain_event.event_timestamp_ms,
            0,
            command_id,
            caused_by,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """Returns the domain event of a stored event.

        Raises MapperDeserialisationError for bytes that no contract reads, and for a record that is not an event of
        this type: a record of another type, or one whose time is outside the calendar. Raises OperationalError while
        the schema registry is unavailable and a schema is not known yet.
        """
        if stored_event.topic not in AGGREGATE_OF:
            return super().to_domain_event(stored_event)
        aggregate = stored_event.originator_id
        assert isinstance(aggregate, UUID)
        try:
            data = self._codec.decode(stored_event.state)
            return event_of(stored_event.topic, aggregate, stored_event.originator_version, data)
        except (RegistryUnavailable, SQLAlchemyError) as error:
            # That is no damaged event: it is loaded when the registry answers, and until then the answer is 503.
            raise OperationalError(f"no schema of {stored_event.topic}: {error}") from error
        except (UndecodableError, KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            raise MapperDeserialisationError(
                f"{stored_event.topic} of {aggregate} at version {stored_event.originator_version}: {error}"
            ) from error


class EventStoreFactory(InfrastructureFactory[TrackingRecorder]):
    """Gives the library our recorders and mapper. There is no tracking recorder: sinks store fences instead."""

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
        raise ProgrammingError("projections store fences with their data; there is no tracking recorder")

    def process_recorder(self) -> ProcessRecorder:
        raise ProgrammingError("projections store fences with their data; there is no process recorder")

    def is_snapshotting_enabled(self) -> bool:
        return True
