"""Domain events to stored events and back: the state of an event is the framed Avro that goes to Kafka untouched."""

from __future__ import annotations

from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, MapperDeserialisationError, OperationalError, StoredEvent, Transcoder
from sqlalchemy.exc import SQLAlchemyError

from domain.contracts import Codec, UndecodableError
from domain.rider import RIDER_EVENTS, Rider, event_of
from infrastructure.event_store.stored import LogEvent
from infrastructure.registry.ids import RegistryUnavailable


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
