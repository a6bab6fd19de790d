"""What ``/deliveries`` answers: a delivery, a page of them, or the error of a refused command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from domain.deliveries.values import DeliverySnapshot
from domain.errors import (
    DeliveryExists,
    DomainError,
    IdempotencyConflict,
    LegAlreadyStarted,
    LegNotStarted,
    OtherRider,
    TooManyLegs,
    UnknownDelivery,
    UnreadableDelivery,
    WrongStatus,
)
from infrastructure.http.errors import ApiError

_STATUS: Final[dict[type[DomainError], int]] = {
    UnknownDelivery: 404,
    DeliveryExists: 409,
    WrongStatus: 409,
    OtherRider: 409,
    TooManyLegs: 409,
    IdempotencyConflict: 409,
    LegAlreadyStarted: 409,
    LegNotStarted: 409,
    UnreadableDelivery: 500,
}
"""Of the errors that a recorded delivery decides. Every other one is of the request itself: 400."""


class Place(msgspec.Struct):
    """WGS84 degrees."""

    latitude: float
    longitude: float


class DeliveryAnswer(msgspec.Struct):
    """One delivery. Times in epoch milliseconds, null until they are reached. ``position``: of its last event."""

    order_id: str
    status: str
    rider_id: str | None
    restaurant: Place
    customer: Place
    city: str
    time_zone: str
    currency: str
    placed_at_ms: int
    assigned_at_ms: int | None
    picked_up_at_ms: int | None
    arrived_at_ms: int | None
    completed_at_ms: int | None
    cancelled_at_ms: int | None
    preparation_seconds: int | None
    promised_seconds: int | None
    items: int | None
    version: int
    position: int


class CommandAnswer(DeliveryAnswer):
    """The delivery as it is now. ``recorded``: false for a repeat, which changed nothing."""

    recorded: bool


class DeliveriesPage(msgspec.Struct):
    """``next``: the cursor of the next page, null on the last one."""

    items: list[DeliveryAnswer]
    next: str | None


def of_snapshot(snapshot: DeliverySnapshot) -> DeliveryAnswer:
    """The delivery as the aggregate has it."""
    return DeliveryAnswer(**_fields(snapshot))


def of_command(snapshot: DeliverySnapshot, *, recorded: bool) -> CommandAnswer:
    """The delivery after a command."""
    return CommandAnswer(**_fields(snapshot), recorded=recorded)


def of_row(row: Mapping[str, Any]) -> DeliveryAnswer:
    """The delivery as a row of the read model has it."""
    fields = {name: row[name] for name in DeliveryAnswer.__struct_fields__ if name in row}
    return DeliveryAnswer(
        restaurant=Place(row["restaurant_latitude"], row["restaurant_longitude"]),
        customer=Place(row["customer_latitude"], row["customer_longitude"]),
        **fields,
    )


def refusal(error: DomainError) -> ApiError:
    """The response for a command that was refused."""
    return ApiError(_STATUS.get(type(error), 400), error.code, str(error))


def unknown_delivery(order_id: str) -> ApiError:
    return refusal(UnknownDelivery(f"no order {order_id[:128]!r} was placed"))


def _fields(snapshot: DeliverySnapshot) -> dict[str, Any]:
    places = {"restaurant": Place(*snapshot.restaurant), "customer": Place(*snapshot.customer)}
    return snapshot._asdict() | places
