"""The fold of a delivery: what dispatchers and customers see of one order, from the events of its stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from domain.features.keyed_event import KeyedEvent

NOT_PLACED = ""
"""The status before the first event of an order is folded. No stored row has it."""


class DeliveryRow(NamedTuple):
    """One order as its last event left it. Degrees in WGS84, times in epoch milliseconds as the commands gave them.

    ``version`` and ``position`` are those of the last event folded. The time of a stage is None until it is reached;
    ``assigned_at_ms`` is None again after an unassign. ``rider_id`` of a cancelled order is the rider who had it.
    """

    version: int = 0
    position: int = 0
    status: str = NOT_PLACED
    rider_id: str | None = None
    restaurant_latitude: float = 0.0
    restaurant_longitude: float = 0.0
    customer_latitude: float = 0.0
    customer_longitude: float = 0.0
    city: str = ""
    time_zone: str = ""
    currency: str = ""
    placed_at_ms: int = 0
    assigned_at_ms: int | None = None
    picked_up_at_ms: int | None = None
    arrived_at_ms: int | None = None
    completed_at_ms: int | None = None
    cancelled_at_ms: int | None = None
    preparation_seconds: int | None = None
    promised_seconds: int | None = None
    items: int | None = None


EMPTY = DeliveryRow()


def fold(state: DeliveryRow, event: KeyedEvent) -> DeliveryRow:
    """The state after one more event of the order's stream; pure.

    Events count in the order in which they were recorded, also when their times say otherwise: a phone was offline.
    An event that changes nothing here still moves version and position.
    """
    step = _STEPS.get(event.event_type)
    changed = state if step is None else step(state, event.data)
    return changed._replace(version=event.version, position=event.position)


def _placed(state: DeliveryRow, data: Mapping[str, Any]) -> DeliveryRow:
    return state._replace(
        status="placed",
        restaurant_latitude=data["restaurant_latitude"],
        restaurant_longitude=data["restaurant_longitude"],
        customer_latitude=data["customer_latitude"],
        customer_longitude=data["customer_longitude"],
        city=data["city"],
        time_zone=data["time_zone"],
        currency=data["currency"],
        placed_at_ms=data["event_timestamp_ms"],
        preparation_seconds=data["preparation_seconds"],
        promised_seconds=data["promised_seconds"],
        items=data["items"],
    )


def _assigned(state: DeliveryRow, data: Mapping[str, Any]) -> DeliveryRow:
    return state._replace(status="assigned", rider_id=data["rider_id"], assigned_at_ms=data["event_timestamp_ms"])


def _unassigned(state: DeliveryRow, _data: Mapping[str, Any]) -> DeliveryRow:
    return state._replace(status="placed", rider_id=None, assigned_at_ms=None)


def _picked_up(state: DeliveryRow, data: Mapping[str, Any]) -> DeliveryRow:
    return state._replace(status="picked_up", picked_up_at_ms=data["event_timestamp_ms"])


def _arrived(state: DeliveryRow, data: Mapping[str, Any]) -> DeliveryRow:
    return state._replace(status="arrived", arrived_at_ms=data["event_timestamp_ms"])


def _completed(state: DeliveryRow, data: Mapping[str, Any]) -> DeliveryRow:
    return state._replace(status="completed", completed_at_ms=data["event_timestamp_ms"])


def _cancelled(state: DeliveryRow, data: Mapping[str, Any]) -> DeliveryRow:
    return state._replace(status="cancelled", cancelled_at_ms=data["event_timestamp_ms"])


_STEPS: dict[str, Callable[[DeliveryRow, Mapping[str, Any]], DeliveryRow]] = {
    "DeliveryPlaced": _placed,
    "DeliveryAssigned": _assigned,
    "DeliveryUnassigned": _unassigned,
    "DeliveryPickedUp": _picked_up,
    "DeliveryArrived": _arrived,
    "DeliveryCompleted": _completed,
    "DeliveryCancelled": _cancelled,
}
