"""What ``/deliveries`` answers: a delivery, a page of them, or the error of a refused command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec

from domain.deliveries.values import Coordinates, DeliverySnapshot
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
from read_models.completion.answer import Completion

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


@dataclass(frozen=True, slots=True)
class CommandAnswer(DeliverySnapshot):
    """The delivery as it is now. ``recorded``: false for a repeat, which changed nothing."""

    recorded: bool


@dataclass(frozen=True, slots=True)
class DeliveryDetail(DeliverySnapshot):
    """The delivery, and how its legs were completed; null if no leg of it is folded."""

    completion: Completion | None


_FIELDS: Final = tuple(field.name for field in fields(DeliverySnapshot))


class DeliveriesPage(msgspec.Struct):
    """``next``: the cursor of the next page, null on the last one."""

    items: list[DeliverySnapshot]
    next: str | None


def of_command(snapshot: DeliverySnapshot, *, recorded: bool) -> CommandAnswer:
    """The delivery after a command."""
    return CommandAnswer(**{name: getattr(snapshot, name) for name in _FIELDS}, recorded=recorded)


def of_row(row: Mapping[str, Any]) -> DeliverySnapshot:
    """The delivery as a row of the read model has it: the same fields, with each place in two columns."""
    return DeliverySnapshot(
        restaurant=Coordinates(row["restaurant_latitude"], row["restaurant_longitude"]),
        customer=Coordinates(row["customer_latitude"], row["customer_longitude"]),
        **{name: row[name] for name in _FIELDS if name in row},
    )


def with_completion(snapshot: DeliverySnapshot, completion: Completion | None) -> DeliveryDetail:
    """The delivery with its completion."""
    return DeliveryDetail(**{name: getattr(snapshot, name) for name in _FIELDS}, completion=completion)


def refusal(error: DomainError) -> ApiError:
    """The response for a command that was refused."""
    return ApiError(_STATUS.get(type(error), 400), error.code, str(error))


def unknown_delivery(order_id: str) -> ApiError:
    return refusal(UnknownDelivery(f"no order {order_id[:128]!r} was placed"))
