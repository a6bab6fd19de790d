"""An order of the past as the commands that would have recorded it: what a company's order history holds. Pure.

A history rarely has the time of every stage. What is not known must be no fact at any instant of the order's life: a
step without a time is therefore recorded together with the next step that has one, at that step's time. Until then the
log says what the history says, namely nothing. ``UNTIMED`` marks such steps.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Any, NamedTuple

from domain.deliveries.commands import Arrive, Assign, Cancel, Complete, DeliveryCommand, PickUp, PlaceOrder
from domain.deliveries.values import MAX_SECONDS, Coordinates
from domain.errors import StepsContradict
from domain.identifiers import MAX_ID_CODE_POINTS, check_rider_id

IMPORTED = "import-deliveries"
"""The source of what a history states."""

UNTIMED = "import-deliveries:untimed"
"""The source of a step that a delivery's life needs and whose time the history does not have."""

UNKNOWN_RIDER = "unknown:"
"""The riders of orders whose rider the history does not name have ids that begin so, one for each order."""


class PastStage(IntEnum):
    """The steps of a past order, in the order in which they are recorded."""

    PLACE = 0
    ASSIGN = 1
    PICK_UP = 2
    ARRIVE = 3
    END = 4


class PastOrder(NamedTuple):
    """One order of a history, which is over. Times in epoch milliseconds; None = the history does not have it.

    ``ended_ms`` is when it was completed, or cancelled if not ``is_completed``. Places in WGS84 degrees.
    """

    order_id: str
    restaurant: tuple[float, float]
    customer: tuple[float, float]
    time_zone: str
    currency: str
    placed_ms: int
    ended_ms: int
    is_completed: bool = True
    assigned_ms: int | None = None
    picked_up_ms: int | None = None
    arrived_ms: int | None = None
    rider_id: str | None = None
    city: str | None = None
    preparation_seconds: int | None = None
    promised_seconds: int | None = None
    items: int | None = None


class PastStep(NamedTuple):
    """One step: when it happened, None = unknown, and when it is recorded (epoch milliseconds)."""

    stage: PastStage
    at_ms: int | None
    recorded_ms: int


def steps_of(order: PastOrder) -> list[PastStep]:
    """The steps of the order's life in the order of their recording, whose times never step back.

    A step that a later one needs is there without a time: pick-up needs an assignment, arrival and completion need a
    pick-up. A cancelled order has only the steps that the history has, and those that they need.
    """
    at = [order.placed_ms, order.assigned_ms, order.picked_up_ms, order.arrived_ms, order.ended_ms]
    needed = max(
        (stage for stage in (PastStage.ASSIGN, PastStage.PICK_UP, PastStage.ARRIVE) if at[stage] is not None),
        default=PastStage.PLACE,
    )
    if order.is_completed:
        needed = max(needed, PastStage.PICK_UP)
    steps: list[PastStep] = []
    latest_ms = order.ended_ms
    # A step without a time is recorded with the next one, so the steps are laid out from the end. Any two that have a
    # time and contradict each other are recorded in their order, the second one no earlier than the first.
    known_ms = _never_back(at)
    for stage in reversed(PastStage):
        at_ms = at[stage]
        if at_ms is None and (stage is PastStage.ARRIVE or stage > needed):
            continue
        if at_ms is not None:
            latest_ms = known_ms[stage]
        steps.append(PastStep(stage, at_ms, latest_ms))
    steps.reverse()
    return steps


def _never_back(at: list[int | None]) -> list[int]:
    known: list[int] = []
    latest_ms = 0
    for each in at:
        latest_ms = latest_ms if each is None else max(latest_ms, each)
        known.append(latest_ms)
    return known


def has_assignment(order: PastOrder) -> bool:
    """Whether a rider took the order: an order that was cancelled may have had none."""
    stages = (order.assigned_ms, order.picked_up_ms, order.arrived_ms)
    return order.is_completed or any(each is not None for each in stages)


def is_out_of_order(order: PastOrder) -> bool:
    """Whether a stage has an earlier time than one before it; it is recorded so, and its event is flagged."""
    at = (order.placed_ms, order.assigned_ms, order.picked_up_ms, order.arrived_ms, order.ended_ms)
    times = [each for each in at if each is not None]
    return times != sorted(times)


def check_past_order(order: PastOrder) -> None:
    """Check what a history can state and a live command cannot: that the times of an order fit its end.

    An order whose end is before its placement, or before one of its stages, would be a label that is false.

    Raises:
        StepsContradict: as above, or the order took longer than MAX_SECONDS.
    """
    end = "completed" if order.is_completed else "cancelled"
    if order.ended_ms < order.placed_ms:
        raise StepsContradict(f"{end} is before placed")
    if order.ended_ms - order.placed_ms > 1_000 * MAX_SECONDS:
        raise StepsContradict(f"{end} is more than {MAX_SECONDS // 86_400} days after placed")
    stages = (("assigned", order.assigned_ms), ("picked_up", order.picked_up_ms), ("arrived", order.arrived_ms))
    for name, at_ms in stages:
        if at_ms is not None and at_ms > order.ended_ms:
            raise StepsContradict(f"{name} is after {end}")


def rider_of_order(order: PastOrder, *, known: bool = True) -> str:
    """The rider of the history, else one that stands for the unknown rider of this order alone.

    One for each order: a rider shared by many orders would have stacked orders and a working day that no rider had.
    ``known`` False: the rider of the history is left out, as if it had none.
    """
    if known and order.rider_id is not None:
        return order.rider_id
    made = UNKNOWN_RIDER + order.order_id
    if len(made) <= MAX_ID_CODE_POINTS:
        return made
    return UNKNOWN_RIDER + hashlib.sha256(order.order_id.encode()).hexdigest()


def command_of(order: PastOrder, step: PastStep, *, known_rider: bool = True) -> DeliveryCommand:
    """The command that records the step as of its time."""
    stage, at_ms, recorded_ms = step
    if stage is PastStage.PLACE:
        return PlaceOrder(
            order_id=order.order_id,
            received_ms=recorded_ms,
            at_ms=at_ms,
            source_service=IMPORTED,
            restaurant=Coordinates(*order.restaurant),
            customer=Coordinates(*order.customer),
            time_zone=order.time_zone,
            currency=order.currency,
            city=order.city,
            preparation_seconds=order.preparation_seconds,
            promised_seconds=order.promised_seconds,
            items=order.items,
        )
    common: dict[str, Any] = {
        "order_id": order.order_id,
        "received_ms": recorded_ms,
        # Without a time it happened, for the log, when it was recorded.
        "at_ms": recorded_ms if at_ms is None else at_ms,
        "source_service": UNTIMED if at_ms is None else IMPORTED,
    }
    if stage is PastStage.ASSIGN:
        return Assign(**common, rider_id=rider_of_order(order, known=known_rider))
    if stage is PastStage.END:
        return Complete(**common) if order.is_completed else Cancel(**common)
    return PickUp(**common) if stage is PastStage.PICK_UP else Arrive(**common)


def check_commands(order: PastOrder) -> None:
    """Check the order by the rules of its commands, before any of it is recorded.

    Raises:
        InvalidOrderId, InvalidRiderId, InvalidCoordinates, InvalidTimeZone, InvalidCurrency, OutOfRange, InvalidType:
        TimestampTooOld, GpsWeekRollover: as the commands raise them.
    """
    for step in steps_of(order):
        if step.stage in (PastStage.PLACE, PastStage.ASSIGN) or step.at_ms is not None:
            command_of(order, step).check()
    if order.rider_id is not None:
        check_rider_id(order.rider_id)
