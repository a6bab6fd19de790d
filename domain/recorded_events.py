"""The event classes of all aggregates by the name of their record, and the event of a decoded record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from domain.deliveries.delivery import Delivery
from domain.deliveries.events import DELIVERY_EVENTS, DeliveryEvent
from domain.riders.events import RiderEvent
from domain.riders.rider import Rider
from domain.timestamps import utc_datetime

AggregateEvent = RiderEvent | DeliveryEvent

RIDER_EVENTS: dict[str, type[RiderEvent]] = {
    event.RECORD: event
    for event in (
        Rider.Registered,
        Rider.PingRecorded,
        Rider.ShiftStarted,
        Rider.ShiftEnded,
        Rider.LegStarted,
        Rider.LegEnded,
        Rider.AlertReviewed,
        Rider.StatementClosed,
    )
}

AGGREGATE_OF: dict[str, type[Rider] | type[Delivery]] = {
    **dict.fromkeys(RIDER_EVENTS, Rider),
    **dict.fromkeys(DELIVERY_EVENTS, Delivery),
}
"""The aggregate whose stream has the events of a record."""


def event_of(record: str, aggregate: UUID, version: int, data: Mapping[str, Any]) -> AggregateEvent:
    """The event of a decoded record.

    Raises:
        KeyError: the record is not one of an aggregate's events, or ``data`` lacks a field.
        ValueError, OverflowError, OSError: a value is none that the event can have.
    """
    event_class: Any = RIDER_EVENTS.get(record) or DELIVERY_EVENTS[record]
    key = AGGREGATE_OF[record].KEY_FIELD
    at_ms = data.get("received_timestamp_ms") or data["event_timestamp_ms"]
    event: AggregateEvent = event_class(
        originator_id=aggregate,
        originator_version=version,
        timestamp=utc_datetime(at_ms),
        event_timestamp_ms=data["event_timestamp_ms"],
        **{key: data[key]},
        **event_class.arguments(data),
    )
    return event
