"""A leg of a delivery: the part of its way on which a rider is under way to one target."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MAX_OPEN_LEGS = 20
"""How many legs of a rider may be open at once: bounds the state of the aggregate and of folds that keep legs."""

TO_RESTAURANT = "to_restaurant"
TO_CUSTOMER = "to_customer"


class LegOutcome(StrEnum):
    """Why a leg ended."""

    COMPLETED = "completed"
    """The rider reached its target: the order was picked up, or handed over."""
    UNASSIGNED = "unassigned"
    """The rider was taken off the order before pick-up."""
    CANCELLED = "cancelled"
    """The order was cancelled."""


class Leg(NamedTuple):
    """One leg of a delivery that the rider is on, ``to_restaurant`` or ``to_customer``; the target in WGS84 degrees.

    City, time zone (IANA) and currency (ISO 4217) are those of the order, empty if unknown. ``promised_seconds`` is
    from placing until hand-over. They are copied here, since a fold reads one keyed stream (invariant 7).
    """

    order_id: str
    leg: str
    target_latitude: float
    target_longitude: float
    city: str = ""
    time_zone: str = ""
    currency: str = ""
    promised_seconds: int | None = None
