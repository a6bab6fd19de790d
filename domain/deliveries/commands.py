"""The commands on deliveries: what a dispatcher asks for, bounded before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from domain.commands import Command
from domain.deliveries.values import (
    MAX_CITY_SNAPSHOT,
    MAX_ITEMS,
    MAX_REASON_CODE_POINTS,
    MAX_SECONDS,
    MAX_TEXT_CODE_POINTS,
    Coordinates,
    check_coordinates,
    check_currency,
    check_eta_leg,
    check_number,
    check_quantiles,
    check_text,
    check_time_zone,
)
from domain.errors import InvalidType
from domain.identifiers import check_order_id, check_rider_id


@dataclass(frozen=True, kw_only=True)
class DeliveryCommand(Command):
    """A command on one order."""

    KEY_FIELD: ClassVar[str] = "order_id"

    order_id: str

    @property
    def argument(self) -> str | None:
        """The one own argument of a transition, which a repeat has to have too. None: it was not sent."""
        return None

    def check(self) -> None:
        """Check every value. No delivery is needed for it.

        Raises:
            InvalidOrderId, InvalidRiderId, InvalidCoordinates, InvalidTimeZone, InvalidCurrency, OutOfRange: as named.
            InvalidType, TimestampTooOld, GpsWeekRollover, TimestampInFuture: as ``Command.check`` raises them.
        """
        check_order_id(self.order_id)
        super().check()


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


@dataclass(frozen=True, kw_only=True)
class RecordEta(DeliveryCommand):
    """The first live answer of the ETA in a leg, given at ``at_ms``. The service records it; no client sends it.

    Seconds until hand-over. ``leg`` is the feature of that name. ``city_snapshot`` is None if the answer used none.
    ``model_p50_seconds`` and ``model_p90_seconds`` are those of the model, before calibration; None: they are the same.
    """

    VERB: ClassVar[str] = "record-eta"

    leg: str
    p50_seconds: float
    p90_seconds: float
    model_digest: str
    city_snapshot: int | None = None
    model_p50_seconds: float | None = None
    model_p90_seconds: float | None = None

    @property
    def argument(self) -> str | None:
        return self.leg

    def check(self) -> None:
        super().check()
        check_eta_leg(self.leg)
        check_quantiles(self.p50_seconds, self.p90_seconds)
        if self.model_p50_seconds is not None and self.model_p90_seconds is not None:
            check_quantiles(self.model_p50_seconds, self.model_p90_seconds)
        elif self.model_p50_seconds is not None or self.model_p90_seconds is not None:
            raise InvalidType("a model has both quantiles, or none")
        check_text("model_digest", self.model_digest, MAX_TEXT_CODE_POINTS, least=1)
        check_number("city_snapshot", self.city_snapshot, MAX_CITY_SNAPSHOT)
