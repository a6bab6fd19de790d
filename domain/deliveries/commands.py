"""The commands on deliveries: what a dispatcher asks for, bounded before anything is decided."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from domain.deliveries.values import (
    MAX_ITEMS,
    MAX_REASON_CODE_POINTS,
    MAX_SECONDS,
    MAX_TEXT_CODE_POINTS,
    Coordinates,
    check_coordinates,
    check_currency,
    check_number,
    check_text,
    check_time_zone,
)
from domain.event_times import check_event_time
from domain.identifiers import check_order_id, check_rider_id

_NOT_BODY = frozenset({"order_id", "received_ms", "command_id"})
_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class DeliveryCommand:
    """A command on one order, received at ``received_ms``. None is a field that the request does not have.

    ``at_ms`` is when it happened, by default at its reception; both in epoch milliseconds. ``command_id`` is the
    request's Idempotency-Key.
    """

    VERB: ClassVar[str]
    """The last part of the command's path; part of the digest, so it never changes."""
    AT_FIELD: ClassVar[str] = "at"

    order_id: str
    received_ms: int
    at_ms: int | None = None
    command_id: str | None = None
    source_service: str | None = None

    @property
    def happened_ms(self) -> int:
        return self.received_ms if self.at_ms is None else self.at_ms

    @property
    def argument(self) -> str | None:
        """The one own argument of a transition, which a repeat has to have too. None: it was not sent."""
        return None

    def check(self) -> None:
        """Check every value. No delivery is needed for it.

        Raises:
            InvalidOrderId, InvalidRiderId, InvalidCoordinates, InvalidTimeZone, InvalidCurrency, OutOfRange: as named.
            InvalidType: a text is too long or not printable.
            TimestampTooOld, GpsWeekRollover, TimestampInFuture: for ``at_ms``, as for a ping's time.
        """
        check_order_id(self.order_id)
        check_text("Idempotency-Key", self.command_id, MAX_TEXT_CODE_POINTS, least=1)
        check_text("source_service", self.source_service, MAX_TEXT_CODE_POINTS)
        if self.at_ms is not None:
            check_event_time(self.AT_FIELD, self.at_ms, self.received_ms)

    def digest(self) -> str:
        """Hex digest of verb and parsed body, by which the use of one key for two commands is detected."""
        body = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _NOT_BODY}
        text = json.dumps([self.VERB, _canonical(body)], sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _canonical(body: dict[str, Any]) -> dict[str, Any]:
    # 52 and 52.0 are one coordinate, and so are 0.0 and -0.0.
    return {
        name: [float(degrees) + 0.0 for degrees in value] if isinstance(value, Coordinates) else value
        for name, value in body.items()
        if value is not None
    }


@dataclass(frozen=True, kw_only=True)
class PlaceOrder(DeliveryCommand):
    """An order of a customer at a restaurant. ``at_ms`` is when it was placed; durations start there."""

    VERB: ClassVar[str] = "place"
    AT_FIELD: ClassVar[str] = "placed_at"

    restaurant: Coordinates
    customer: Coordinates
    time_zone: str
    currency: str
    city: str | None = None
    preparation_seconds: int | None = None
    promised_seconds: int | None = None
    items: int | None = None

    def check(self) -> None:
        super().check()
        check_coordinates("restaurant", self.restaurant)
        check_coordinates("customer", self.customer)
        check_time_zone(self.time_zone)
        check_currency(self.currency)
        check_text("city", self.city, MAX_TEXT_CODE_POINTS)
        check_number("preparation_seconds", self.preparation_seconds, MAX_SECONDS)
        check_number("promised_seconds", self.promised_seconds, MAX_SECONDS)
        check_number("items", self.items, MAX_ITEMS)


@dataclass(frozen=True, kw_only=True)
class Assign(DeliveryCommand):
    """A rider takes the order. A rider never seen before is registered by it."""

    VERB: ClassVar[str] = "assign"

    rider_id: str

    @property
    def argument(self) -> str | None:
        return self.rider_id

    def check(self) -> None:
        super().check()
        check_rider_id(self.rider_id)


@dataclass(frozen=True, kw_only=True)
class ReasonedCommand(DeliveryCommand):
    """A command with an optional reason for people."""

    reason: str | None = None

    @property
    def argument(self) -> str | None:
        return self.reason

    def check(self) -> None:
        super().check()
        check_text("reason", self.reason, MAX_REASON_CODE_POINTS)


@dataclass(frozen=True, kw_only=True)
class Unassign(ReasonedCommand):
    """The rider is taken off the order before pick-up."""

    VERB: ClassVar[str] = "unassign"


@dataclass(frozen=True, kw_only=True)
class PickUp(DeliveryCommand):
    """The rider has the order."""

    VERB: ClassVar[str] = "pickup"


@dataclass(frozen=True, kw_only=True)
class Arrive(DeliveryCommand):
    """The rider is at the customer."""

    VERB: ClassVar[str] = "arrive"


@dataclass(frozen=True, kw_only=True)
class Complete(DeliveryCommand):
    """The customer has the order."""

    VERB: ClassVar[str] = "complete"


@dataclass(frozen=True, kw_only=True)
class Cancel(ReasonedCommand):
    """The order will not be delivered."""

    VERB: ClassVar[str] = "cancel"
