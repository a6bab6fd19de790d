"""The events of one order's stream, as their contracts in ``domain/events`` record them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from eventsourcing.domain import Aggregate

from domain.deliveries.values import Coordinates, DeliveryStatus
from domain.features.event_time import effective_time_ms
from domain.identifiers import uuid5_text
from domain.origin import Origin

if TYPE_CHECKING:
    from domain.deliveries.delivery import Delivery

DELIVERY_TOPIC = "domain.deliveries.delivery:Delivery"
"""Stored in every snapshot of a delivery, so it stays when the module moves."""


class Order(NamedTuple):
    """What was ordered, with the names of the contract ``DeliveryPlaced``. Durations start when it was placed."""

    restaurant_latitude: float
    restaurant_longitude: float
    customer_latitude: float
    customer_longitude: float
    city: str
    time_zone: str
    currency: str
    preparation_seconds: int | None
    promised_seconds: int | None
    items: int | None

    @property
    def restaurant(self) -> Coordinates:
        return Coordinates(self.restaurant_latitude, self.restaurant_longitude)

    @property
    def customer(self) -> Coordinates:
        return Coordinates(self.customer_latitude, self.customer_longitude)


class DeliveryEvent(Aggregate.Event):
    """A fact of the order's stream. ``RECORD`` names its Avro contract in ``domain/events``."""

    RECORD: ClassVar[str]
    TOPIC: ClassVar[str] = "domain.deliveries.events:DeliveryEvent"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # The library requires an explicit topic of each event class if the aggregate has one.
        cls.TOPIC = f"domain.deliveries.events:{cls.__name__}"
        super().__init_subclass__(**kwargs)

    order_id: str
    event_timestamp_ms: int
    origin: Origin

    def data(self) -> dict[str, Any]:
        """The event as its contract's record."""
        return {
            "order_id": self.order_id,
            "event_timestamp_ms": self.event_timestamp_ms,
            "event_id": self.event_id,
            **self.origin._asdict(),
        }

    @classmethod
    def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """The constructor's own arguments from a decoded record, besides order_id and event_timestamp_ms."""
        return {"origin": Origin.of(data)}

    @property
    def event_id(self) -> str:
        return uuid5_text(self.originator_id, f"{self.RECORD}/{self.originator_version}")

    @property
    def key(self) -> str:
        return self.order_id

    @property
    def command_id(self) -> str:
        return self.origin.command_id

    @property
    def caused_by(self) -> str:
        return self.origin.caused_by

    def note_key(self, aggregate: Delivery) -> None:
        """Keep the Idempotency-Key under which the event was recorded."""
        if self.origin.command_digest:
            aggregate.note_key(self.origin.command_id, self.origin.command_digest)

    def note(self, aggregate: Delivery) -> None:
        """Keep what every stage changes: its key, and its time for the order of the stages."""
        self.note_key(aggregate)
        # The fields of the record that the time depends on. The whole record would be made once more for each event.
        times = {
            "event_timestamp_ms": self.event_timestamp_ms,
            "received_timestamp_ms": self.origin.received_timestamp_ms,
        }
        aggregate.latest_step_ms = effective_time_ms(times)


class DeliveryPlaced(DeliveryEvent, Aggregate.Created):
    RECORD: ClassVar[str] = "DeliveryPlaced"
    order: Order

    def apply(self, aggregate: Delivery) -> None:
        self.note(aggregate)

    def data(self) -> dict[str, Any]:
        return {**super().data(), **self.order._asdict()}

    @classmethod
    def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        order = Order(**{name: data[name] for name in Order._fields})
        return {**super().arguments(data), "order": order, "originator_topic": DELIVERY_TOPIC}


class DeliveryStep(DeliveryEvent):
    """A transition. ``rider_id`` is empty only where an order without a rider is cancelled.

    ``out_of_order``: its time is earlier than that of the event before it, since a phone was offline.
    """

    STATUS: ClassVar[DeliveryStatus]
    VERB: ClassVar[str]
    rider_id: str
    out_of_order: bool

    def apply(self, aggregate: Delivery) -> None:
        aggregate.status = self.STATUS.value
        aggregate.steps[self.VERB] = [self.event_timestamp_ms, self.argument]
        self.note(aggregate)

    @property
    def argument(self) -> str | None:
        """The own argument of the command, by which a repeat is recognised."""
        return None

    def data(self) -> dict[str, Any]:
        return {**super().data(), "rider_id": self.rider_id, "out_of_order": self.out_of_order}

    @classmethod
    def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        step = {"rider_id": data["rider_id"], "out_of_order": data["out_of_order"]}
        return {**super().arguments(data), **step}


class ReasonedStep(DeliveryStep):
    """A transition with a reason for people."""

    reason: str | None

    @property
    def argument(self) -> str | None:
        return self.reason

    def data(self) -> dict[str, Any]:
        return {**super().data(), "reason": self.reason}

    @classmethod
    def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().arguments(data), "reason": data["reason"]}


class DeliveryAssigned(DeliveryStep):
    RECORD: ClassVar[str] = "DeliveryAssigned"
    STATUS: ClassVar[DeliveryStatus] = DeliveryStatus.ASSIGNED
    VERB: ClassVar[str] = "assign"

    def apply(self, aggregate: Delivery) -> None:
        aggregate.rider_id = self.rider_id
        # The unassignment before it does not hold any more: the next one is no repeat of it.
        aggregate.steps.pop("unassign", None)
        super().apply(aggregate)

    @property
    def argument(self) -> str | None:
        return self.rider_id


class DeliveryUnassigned(ReasonedStep):
    RECORD: ClassVar[str] = "DeliveryUnassigned"
    STATUS: ClassVar[DeliveryStatus] = DeliveryStatus.PLACED
    VERB: ClassVar[str] = "unassign"

    def apply(self, aggregate: Delivery) -> None:
        aggregate.rider_id = None
        aggregate.steps.pop("assign", None)
        super().apply(aggregate)


class DeliveryPickedUp(DeliveryStep):
    RECORD: ClassVar[str] = "DeliveryPickedUp"
    STATUS: ClassVar[DeliveryStatus] = DeliveryStatus.PICKED_UP
    VERB: ClassVar[str] = "pickup"


class DeliveryArrived(DeliveryStep):
    RECORD: ClassVar[str] = "DeliveryArrived"
    STATUS: ClassVar[DeliveryStatus] = DeliveryStatus.ARRIVED
    VERB: ClassVar[str] = "arrive"


class DeliveryCompleted(DeliveryStep):
    RECORD: ClassVar[str] = "DeliveryCompleted"
    STATUS: ClassVar[DeliveryStatus] = DeliveryStatus.COMPLETED
    VERB: ClassVar[str] = "complete"


class DeliveryCancelled(ReasonedStep):
    RECORD: ClassVar[str] = "DeliveryCancelled"
    STATUS: ClassVar[DeliveryStatus] = DeliveryStatus.CANCELLED
    VERB: ClassVar[str] = "cancel"


class Eta(NamedTuple):
    """An answer of the ETA in a leg of the order, with the names of the contract ``EtaServed``.

    Seconds from the answer until hand-over. ``city_snapshot`` is None if the answer used none. The quantiles of the
    model are those before calibration; None in an event of before there was one.
    """

    leg: str
    p50_seconds: float
    p90_seconds: float
    model_digest: str
    city_snapshot: int | None
    model_p50_seconds: float | None = None
    model_p90_seconds: float | None = None


class EtaServed(DeliveryEvent):
    """The first live answer of the ETA in a leg; its event time is the clock reading of the answer.

    It is no stage: status and times of the delivery stay, and no later stage is out of order because of it.
    """

    RECORD: ClassVar[str] = "EtaServed"
    eta: Eta

    def apply(self, aggregate: Delivery) -> None:
        self.note_key(aggregate)
        aggregate.etas[self.eta.leg] = self.event_timestamp_ms

    def data(self) -> dict[str, Any]:
        return {**super().data(), **self.eta._asdict()}

    @classmethod
    def arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().arguments(data), "eta": Eta(**{name: data[name] for name in Eta._fields})}


DELIVERY_EVENTS: dict[str, type[DeliveryEvent]] = {
    event.RECORD: event
    for event in (
        DeliveryPlaced,
        DeliveryAssigned,
        DeliveryUnassigned,
        DeliveryPickedUp,
        DeliveryArrived,
        DeliveryCompleted,
        DeliveryCancelled,
        EtaServed,
    )
}
"""The event classes by the name of their record."""

STEPS: dict[str, type[DeliveryStep]] = {
    event.VERB: event for event in DELIVERY_EVENTS.values() if issubclass(event, DeliveryStep)
}
"""The event class of each transition by the verb of its command."""
