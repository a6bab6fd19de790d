"""The fold of an order: where it stands and since when, and what it adds to the sums of its restaurant's cell."""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.partials import PartialDelta
from domain.features.traffic.steps import BUCKET_MS, cell_at

RING_SLOTS = 12
"""Slots of five minutes of completion time: the orders finished within the last hour."""
OPEN_SLOT = RING_SLOTS
"""The slot of the open orders, permanent."""
PARTIAL_SLOTS = RING_SLOTS + 1
_PERMANENT = 0

PLACED: Final = "placed"
ASSIGNED: Final = "assigned"
PICKED_UP: Final = "picked_up"
ARRIVED: Final = "arrived"
COMPLETED: Final = "completed"
CANCELLED: Final = "cancelled"
OPEN_STATUSES = (PLACED, ASSIGNED, PICKED_UP, ARRIVED)


class OrderState(NamedTuple):
    """An order after ``version`` events. Times are effective, in epoch ms; None: it has not happened.

    ``restaurant`` and ``customer`` are (latitude, longitude) in WGS84 degrees. ``latest_step_ms`` is the time of the
    last recorded step, which may be earlier than that of the step before it: a phone was offline. An unassignment
    clears ``rider_id`` and ``assigned_ms``; ``assignments`` counts all of them. Seconds start when it was placed.
    """

    version: int
    position: int
    status: str = ""
    rider_id: str | None = None
    restaurant: tuple[float, float] = (0.0, 0.0)
    customer: tuple[float, float] = (0.0, 0.0)
    time_zone: str = ""
    placed_ms: int = 0
    assigned_ms: int | None = None
    picked_up_ms: int | None = None
    arrived_ms: int | None = None
    completed_ms: int | None = None
    cancelled_ms: int | None = None
    latest_step_ms: int = 0
    preparation_seconds: int | None = None
    promised_seconds: int | None = None
    items: int | None = None
    assignments: int = 0
    city: str = ""


EMPTY = OrderState(0, 0)


class MissingPlacement(ValueError):
    """The stream of an order starts with another event than DeliveryPlaced: nothing is known of the order."""


def fold(state: OrderState, event: KeyedEvent) -> OrderState:
    """The state after one more event of the order's stream; pure. Raises MissingPlacement.

    Events of other types, such as a later contract's, change only version and position.
    """
    _, version, position, event_type, data = event
    state = state._replace(version=version, position=position)
    if event_type == "DeliveryPlaced":
        at_ms = effective_time_ms(data)
        return state._replace(
            status=PLACED,
            restaurant=_place(data["restaurant_latitude"], data["restaurant_longitude"]),
            customer=_place(data["customer_latitude"], data["customer_longitude"]),
            time_zone=data["time_zone"],
            placed_ms=at_ms,
            latest_step_ms=at_ms,
            preparation_seconds=data["preparation_seconds"],
            promised_seconds=data["promised_seconds"],
            items=data["items"],
            city=data["city"],
        )
    if not state.status:
        raise MissingPlacement(f"{event_type} is the first event of the order")
    if event_type not in STEP_TYPES:
        return state
    at_ms = effective_time_ms(data)
    state = state._replace(latest_step_ms=at_ms)
    if event_type == "DeliveryAssigned":
        rider_id, number = data["rider_id"], state.assignments + 1
        return state._replace(status=ASSIGNED, rider_id=rider_id, assigned_ms=at_ms, assignments=number)
    if event_type == "DeliveryUnassigned":
        return state._replace(status=PLACED, rider_id=None, assigned_ms=None)
    if event_type == "DeliveryPickedUp":
        return state._replace(status=PICKED_UP, picked_up_ms=at_ms)
    if event_type == "DeliveryArrived":
        return state._replace(status=ARRIVED, arrived_ms=at_ms)
    if event_type == "DeliveryCompleted":
        return state._replace(status=COMPLETED, completed_ms=at_ms)
    return state._replace(status=CANCELLED, cancelled_ms=at_ms)


STEP_TYPES = frozenset(
    {
        "DeliveryAssigned",
        "DeliveryUnassigned",
        "DeliveryPickedUp",
        "DeliveryArrived",
        "DeliveryCompleted",
        "DeliveryCancelled",
    }
)


def _place(latitude: float, longitude: float) -> tuple[float, float]:
    # Adding 0.0 turns -0.0 into 0.0: the two are equal, and equal states must have equal bytes.
    return latitude + 0.0, longitude + 0.0


def partials(old: OrderState, new: OrderState) -> list[PartialDelta]:
    """What one event adds to the sums of the restaurant's cell; pure.

    Open orders: (count). Finished orders by the five minutes of their completion: (count, Σ duration ms, Σ lateness ms,
    count with a promise). A duration starts when the order was placed. It is not negative, even if the clocks of two
    phones disagree. Lateness is negative for an early order; only orders with a promise have one.
    """
    was_open, is_open = old.status in OPEN_STATUSES, new.status in OPEN_STATUSES
    if was_open == is_open:
        return []
    cell = format(cell_at(*new.restaurant), "x")
    deltas = [PartialDelta(OPEN_SLOT, _PERMANENT, cell, (1 if is_open else -1,))]
    if new.completed_ms is not None and old.completed_ms is None:
        bucket = max(0, new.completed_ms // BUCKET_MS)
        deltas.append(PartialDelta(bucket % RING_SLOTS, bucket, cell, _finished(new, new.completed_ms)))
    return deltas


def _finished(order: OrderState, completed_ms: int) -> tuple[int, int, int, int]:
    duration_ms = max(0, completed_ms - order.placed_ms)
    if order.promised_seconds is None:
        return 1, duration_ms, 0, 0
    return 1, duration_ms, duration_ms - 1_000 * order.promised_seconds, 1
