"""The Delivery aggregate: the events of one order's stream, and the rules by which its commands are rejected."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from eventsourcing.domain import Aggregate

from domain.deliveries.commands import Assign, DeliveryCommand, PlaceOrder, RecordEta
from domain.deliveries.events import (
    DELIVERY_TOPIC,
    STEPS,
    DeliveryArrived,
    DeliveryAssigned,
    DeliveryCancelled,
    DeliveryCompleted,
    DeliveryEvent,
    DeliveryPickedUp,
    DeliveryPlaced,
    DeliveryStep,
    DeliveryUnassigned,
    Eta,
    EtaServed,
    Order,
    ReasonedStep,
)
from domain.deliveries.transitions import check_transition
from domain.deliveries.values import DeliverySnapshot, DeliveryStatus
from domain.errors import DeliveryExists, IdempotencyConflict, UnreadableDelivery
from domain.features.event_time import effective_time_ms
from domain.identifiers import aggregate_id, check_order_id
from domain.origin import UNKNOWN_ORIGIN, Origin, made_command_id
from domain.timestamps import utc_datetime

MAX_KEPT_KEYS = 64
"""Idempotency-Keys that a delivery keeps, ~170 bytes each at most: several times those of a usual life. A client may
send assignments without end; an older key is looked up in the log (``recorded_keys``)."""


class Delivery(Aggregate):
    """One order. Its state is what commands need for their decisions, and what they answer."""

    AGGREGATE_TYPE: ClassVar[str] = "Delivery"
    KEY_FIELD: ClassVar[str] = "order_id"
    # Version 2 has the legs whose first ETA is recorded, and the latest keys alone. A snapshot of version 1 is upcast.
    class_version: ClassVar[int] = 2
    TOPIC: ClassVar[str] = DELIVERY_TOPIC

    Event = DeliveryEvent
    Placed = DeliveryPlaced
    Assigned = DeliveryAssigned
    Unassigned = DeliveryUnassigned
    PickedUp = DeliveryPickedUp
    Arrived = DeliveryArrived
    Completed = DeliveryCompleted
    Cancelled = DeliveryCancelled

    def __init__(self, order_id: str, event_timestamp_ms: int, origin: Origin, order: Order) -> None:
        self.order_id = order_id
        self.status: str = DeliveryStatus.PLACED.value
        self.rider_id: str | None = None
        self.placed_ms = event_timestamp_ms
        self.source_service = origin.source_service
        self.order_fields = order._asdict()
        self.steps: dict[str, list[Any]] = {}
        """Event time and argument of each transition that still holds, by its verb. Lists, as snapshots store them."""
        self.keys: dict[str, str] = {}
        """Digest of the command that was recorded under each of the latest MAX_KEPT_KEYS keys, the oldest first."""
        self.latest_step_ms = 0
        self.is_readable = True
        self.etas: dict[str, int] = {}
        """When the first ETA of each leg was answered (epoch milliseconds): at most one a leg is recorded."""

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Change the state of a stored snapshot of version 1, which knew no ETA and had every key, to version 2."""
        state["etas"] = {}
        state["keys"] = dict(list(state["keys"].items())[-MAX_KEPT_KEYS:])

    @property
    def order(self) -> Order:
        return Order(**self.order_fields)

    @classmethod
    def place(cls, command: PlaceOrder) -> Self:
        """A new order's stream. Raises InvalidOrderId."""
        order = Order(
            float(command.restaurant.latitude),
            float(command.restaurant.longitude),
            float(command.customer.latitude),
            float(command.customer.longitude),
            command.city or "",
            command.time_zone,
            command.currency,
            command.preparation_seconds,
            command.promised_seconds,
            command.items,
        )
        aggregate = aggregate_id(cls.AGGREGATE_TYPE, check_order_id(command.order_id))
        origin = command.origin(made_command_id(aggregate, 0))
        return cls._opened(command.order_id, order, (command.happened_ms, command.received_ms), origin)

    @classmethod
    def with_unreadable(cls, before: Delivery | None, order_id: str, version: int) -> Delivery:
        """The delivery after an event of ``version`` that cannot be decoded: every command on it is rejected."""
        delivery = before
        if delivery is None:
            # Only version and order_id are ever read of it. Unchecked: the log has this id.
            order = Order(0.0, 0.0, 0.0, 0.0, "", "UTC", "", None, None, None)
            delivery = cls._opened(order_id, order, (0, 0), UNKNOWN_ORIGIN)
            delivery._pending_events.clear()
        delivery.version = version
        delivery.is_readable = False
        return delivery

    @classmethod
    def _opened(cls, order_id: str, order: Order, times_ms: tuple[int, int], origin: Origin) -> Self:
        """``times_ms``: when it was placed, and when that was received."""
        placed_ms, received_ms = times_ms
        return cls._create(
            cls.Placed,
            id=aggregate_id(cls.AGGREGATE_TYPE, order_id),
            order_id=order_id,
            event_timestamp_ms=placed_ms,
            timestamp=utc_datetime(received_ms),
            origin=origin,
            order=order,
        )

    def note_key(self, key: str, digest: str) -> None:
        """Keep the digest of the command that was recorded under ``key``."""
        self.keys[key] = digest
        while len(self.keys) > MAX_KEPT_KEYS:
            del self.keys[next(iter(self.keys))]

    def may_have_forgotten(self, key: str) -> bool:
        """False only if ``key`` is kept, or no key was forgotten yet, so that no look-up in the log is needed."""
        return len(self.keys) >= MAX_KEPT_KEYS and key not in self.keys

    def is_repeat(self, command: DeliveryCommand, recorded_digest: str | None = None) -> bool:
        """Whether the command is recorded already, by its key or by its content.

        ``recorded_digest``: that of the command recorded under its key, if there is one and the delivery
        ``may_have_forgotten`` it.

        Content: the same transition with the same arguments, of those that were sent, and it still holds; or an ETA of
        the same leg, whatever its values.

        Raises:
            UnreadableDelivery: an event of this order cannot be decoded.
            IdempotencyConflict: its key was used for another command of this order.
            DeliveryExists: the order was placed with other content.
        """
        self._check_readable()
        digest = None if command.command_id is None else self.keys.get(command.command_id, recorded_digest)
        if digest is not None:
            if digest != command.digest():
                raise IdempotencyConflict("this Idempotency-Key was used for another command of this order")
            return True
        if isinstance(command, PlaceOrder):
            if not self._is_placed_by(command):
                raise DeliveryExists(f"order {self.order_id} was placed with other content")
            return True
        if isinstance(command, RecordEta):
            return command.leg in self.etas
        if command.VERB not in self.steps:
            return False
        at_ms, argument = self.steps[command.VERB]
        return command.at_ms in (None, at_ms) and command.argument in (None, argument)

    def check_transition(self, command: DeliveryCommand) -> None:
        """Check a command that is no repeat. Raises OtherRider or WrongStatus, which names the present status."""
        rider_id = command.rider_id if isinstance(command, Assign) else None
        check_transition(DeliveryStatus(self.status), self.rider_id, command.VERB, rider_id)

    def record(self, command: DeliveryCommand) -> DeliveryStep:
        """Record a transition that ``check_transition`` accepts. Returns its event."""
        event_class = STEPS[command.VERB]
        facts: dict[str, Any] = {"rider_id": command.rider_id if isinstance(command, Assign) else self.rider_id or ""}
        if issubclass(event_class, ReasonedStep):
            facts["reason"] = command.argument
        time = {"event_timestamp_ms": command.happened_ms, "received_timestamp_ms": command.received_ms}
        self.trigger_event(
            event_class,
            order_id=self.order_id,
            event_timestamp_ms=command.happened_ms,
            timestamp=utc_datetime(command.received_ms),
            origin=command.origin(made_command_id(self.id, self.version)),
            out_of_order=effective_time_ms(time) < self.latest_step_ms,
            **facts,
        )
        event = self.pending_events[-1]
        assert isinstance(event, DeliveryStep)
        return event

    def record_eta(self, command: RecordEta) -> None:
        """Record the first ETA of a leg, in whatever status the order is by now: the answer was given."""
        self.trigger_event(
            EtaServed,
            order_id=self.order_id,
            event_timestamp_ms=command.happened_ms,
            timestamp=utc_datetime(command.received_ms),
            origin=command.origin(made_command_id(self.id, self.version)),
            eta=Eta(**{name: getattr(command, name) for name in Eta._fields}),
        )

    def snapshot(self, position: int) -> DeliverySnapshot:
        """The delivery as it is answered; ``position`` is that of its last event. Raises UnreadableDelivery."""
        self._check_readable()
        order = self.order
        times = (self.steps.get(verb, (None,))[0] for verb in ("assign", "pickup", "arrive", "complete", "cancel"))
        assigned_ms, picked_up_ms, arrived_ms, completed_ms, cancelled_ms = times
        return DeliverySnapshot(
            self.order_id,
            self.status,
            self.rider_id,
            order.restaurant,
            order.customer,
            order.city,
            order.time_zone,
            order.currency,
            self.placed_ms,
            assigned_ms,
            picked_up_ms,
            arrived_ms,
            completed_ms,
            cancelled_ms,
            order.preparation_seconds,
            order.promised_seconds,
            order.items,
            self.version,
            position,
        )

    def _check_readable(self) -> None:
        if not self.is_readable:
            raise UnreadableDelivery(f"an event of order {self.order_id} cannot be decoded")

    def _is_placed_by(self, command: PlaceOrder) -> bool:
        """Whether the order is the one of the command, in every field that was sent."""
        order = self.order
        sent = (
            (command.at_ms, self.placed_ms),
            (command.city, order.city),
            (command.preparation_seconds, order.preparation_seconds),
            (command.promised_seconds, order.promised_seconds),
            (command.items, order.items),
            (command.source, self.source_service),
        )
        required = (command.restaurant, command.customer, command.time_zone, command.currency)
        return required == (order.restaurant, order.customer, order.time_zone, order.currency) and all(
            value is None or value == recorded for value, recorded in sent
        )
