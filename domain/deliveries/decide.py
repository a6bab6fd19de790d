"""Decides one command on a delivery and its rider. Pure, so that it can be repeated inside the log's lock.

A step of a delivery also starts and ends legs of its rider, in the same transaction: what folds over the rider's stream
need of the order is in the events of these legs (invariant 7).
"""

from __future__ import annotations

from typing import NamedTuple

from domain.deliveries.commands import Assign, DeliveryCommand, PlaceOrder, RecordEta
from domain.deliveries.delivery import Delivery
from domain.deliveries.events import DeliveryStep
from domain.deliveries.values import DeliveryStatus
from domain.errors import LegNotStarted, UnknownDelivery
from domain.riders.leg import TO_CUSTOMER, TO_RESTAURANT, Leg, LegOutcome
from domain.riders.rider import Rider

OUTCOMES: dict[str, LegOutcome] = {
    "pickup": LegOutcome.COMPLETED,
    "complete": LegOutcome.COMPLETED,
    "unassign": LegOutcome.UNASSIGNED,
    "cancel": LegOutcome.CANCELLED,
}
"""How the open leg of the order ends, by the verb of the command. The other commands end none."""

_STARTED_BY = {"assign": TO_RESTAURANT, "pickup": TO_CUSTOMER}


class Decided(NamedTuple):
    """The aggregates after a command; their pending events are what is to be recorded.

    ``rider`` is None if the command changes no leg. ``recorded`` is False for a repeat, which changes nothing.
    """

    delivery: Delivery
    rider: Rider | None
    recorded: bool


def rider_of(command: DeliveryCommand, delivery: Delivery | None) -> str | None:
    """The rider whose legs the command changes if it is recorded. None: it changes no leg."""
    if isinstance(command, Assign):
        return command.rider_id
    return delivery.rider_id if delivery is not None and command.VERB in OUTCOMES else None


def decide(
    command: DeliveryCommand, delivery: Delivery | None, rider: Rider | None, recorded_digest: str | None = None
) -> Decided:
    """Decide a checked command; ``rider`` is that of ``rider_of``, None if there is none or it is not registered.

    ``recorded_digest``: that of the command recorded under its key, as ``RecordedKeys`` knows it.

    Nothing is changed if an error is raised. The checks are in the order of the HTTP contract.

    Raises:
        UnknownDelivery: a step or an ETA of an order that was not placed.
        IdempotencyConflict, DeliveryExists, OtherRider, WrongStatus, UnreadableDelivery: as Delivery raises them.
        TooManyLegs, LegAlreadyStarted, LegNotStarted: as Rider raises them.
    """
    if isinstance(command, PlaceOrder):
        if delivery is None:
            return Decided(Delivery.place(command), None, recorded=True)
        delivery.is_repeat(command, recorded_digest)
        return Decided(delivery, None, recorded=False)
    if delivery is None:
        raise UnknownDelivery(f"no order {command.order_id} was placed")
    if delivery.is_repeat(command, recorded_digest):
        return Decided(delivery, None, recorded=False)
    if isinstance(command, RecordEta):
        delivery.record_eta(command)
        return Decided(delivery, None, recorded=True)
    delivery.check_transition(command)
    ended, started = _open_leg(command, delivery), _STARTED_BY.get(command.VERB)
    # Whatever the rider can refuse is checked before the delivery changes: the two never disagree.
    if ended is not None:
        if rider is None:
            raise LegNotStarted(f"rider {delivery.rider_id} has no events, so no leg of order {command.order_id}")
        rider.check_leg_can_end(delivery.order_id, ended)
    if rider is not None and started is not None:
        rider.check_leg_can_start(delivery.order_id, started, ends=ended)
    event = delivery.record(command)
    if not event.rider_id or (ended is None and started is None):
        return Decided(delivery, None, recorded=True)
    return Decided(delivery, _with_legs(event, delivery, rider, (ended, started)), recorded=True)


def _open_leg(command: DeliveryCommand, delivery: Delivery) -> str | None:
    """The leg that the command ends."""
    if command.VERB not in OUTCOMES or delivery.rider_id is None:
        return None
    return TO_RESTAURANT if delivery.status == DeliveryStatus.ASSIGNED else TO_CUSTOMER


def _with_legs(
    event: DeliveryStep, delivery: Delivery, rider: Rider | None, legs: tuple[str | None, str | None]
) -> Rider:
    """The rider after the leg ``legs[0]`` is ended and ``legs[1]`` is started, both caused by ``event``."""
    origin = event.origin._replace(caused_by=event.event_id)
    if rider is None:
        rider = Rider.register(event.rider_id, origin.received_timestamp_ms, origin)
    ended, started = legs
    at_ms = event.event_timestamp_ms
    if ended is not None:
        rider.end_leg(delivery.order_id, ended, at_ms, OUTCOMES[event.VERB], origin)
    if started is not None:
        order = delivery.order
        target = order.restaurant if started == TO_RESTAURANT else order.customer
        leg = Leg(
            delivery.order_id,
            started,
            target.latitude,
            target.longitude,
            order.city,
            order.time_zone,
            order.currency,
            order.promised_seconds,
        )
        rider.start_leg(leg, at_ms, origin)
    return rider
