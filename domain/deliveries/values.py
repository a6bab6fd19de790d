"""The values of an order, the rules that they obey, and a delivery as it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import get_args

from domain.errors import InvalidCoordinates, InvalidCurrency, InvalidTimeZone, InvalidType, OutOfRange
from domain.features.eta.features import LegName

MAX_SECONDS = 366 * 86_400
"""Bounds durations of an order, so that a sum of them stays an exact integer everywhere: one year."""

MAX_ITEMS = 1_000_000
MAX_TEXT_CODE_POINTS = 128
"""Bounds city, source service and Idempotency-Key."""
MAX_REASON_CODE_POINTS = 512
MAX_CITY_SNAPSHOT = 2**63 - 1
"""The largest number that the contracts can have."""

ETA_LEGS: frozenset[str] = frozenset(get_args(LegName))
"""The legs of an order as the feature ``leg`` of its ETA names them; an order without a rider is in one too."""


class DeliveryStatus(StrEnum):
    """Where a delivery is in its life. The values are part of the HTTP contract."""

    PLACED = "placed"
    """No rider is assigned: none was yet, or the last one was unassigned."""
    ASSIGNED = "assigned"
    """A rider is on the way to the restaurant, or waits there."""
    PICKED_UP = "picked_up"
    """The rider is on the way to the customer."""
    ARRIVED = "arrived"
    """The rider is at the customer."""
    COMPLETED = "completed"
    """The customer has the order. Final."""
    CANCELLED = "cancelled"
    """The order will not be delivered. Final."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A place in WGS84 degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class DeliverySnapshot:
    """A delivery as ``GET /deliveries/{order_id}`` answers it: the one list of its fields, for commands and reads.

    Times in epoch milliseconds; None = it did not happen, or is unknown. ``rider_id`` and ``assigned_at_ms`` are those
    of the present assignment: after an unassignment there is none; a cancelled or completed delivery keeps its rider.
    ``version`` and ``position`` are those of the delivery's last event.
    """

    order_id: str
    status: str
    rider_id: str | None
    restaurant: Coordinates
    customer: Coordinates
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


_CURRENCIES = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD
HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD
MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN
PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD
TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ANG BGN
"""
CURRENCIES = frozenset(_CURRENCIES.split())
"""Currencies and funds of ISO 4217, list one, as of 2026, and for history ANG and BGN, which ended in 2025.
Metals, units of account and test codes (XAU, XDR, XTS, XXX, …) are not among them: no order is paid in them."""


@cache
def time_zones() -> frozenset[str]:
    """Names of the IANA database, from the package tzdata, so that every machine accepts the same names."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def check_coordinates(name: str, place: Coordinates) -> None:
    """Raises InvalidCoordinates unless both are finite and in range."""
    if not (-90.0 <= place.latitude <= 90.0 and -180.0 <= place.longitude <= 180.0):
        raise InvalidCoordinates(f"{name}: latitude must be within ±90 and longitude within ±180 degrees, both finite")


def check_time_zone(name: str) -> None:
    """Raises InvalidTimeZone for a name that is not in the IANA database."""
    if name not in time_zones():
        raise InvalidTimeZone("time_zone must be a name of the IANA database, such as Europe/Berlin")


def check_currency(code: str) -> None:
    """Raises InvalidCurrency for a code that is not in ISO 4217."""
    if code not in CURRENCIES:
        raise InvalidCurrency("currency must be a code of ISO 4217, such as EUR")


def check_number(name: str, value: int | None, most: int) -> None:
    """Raises OutOfRange unless ``value`` is None or within 0 to ``most``."""
    if value is not None and not 0 <= value <= most:
        raise OutOfRange(f"{name} must be within 0 and {most}")


def check_eta_leg(leg: str) -> None:
    """Raises OutOfRange for a leg that no ETA has."""
    if leg not in ETA_LEGS:
        raise OutOfRange(f"leg must be one of {', '.join(sorted(ETA_LEGS))}")


def check_quantiles(p50_seconds: float, p90_seconds: float) -> None:
    """Raises OutOfRange unless both are finite, and 0 ≤ p50 ≤ p90 ≤ MAX_SECONDS."""
    # A comparison with NaN is False, and infinity is above the bound.
    if not 0.0 <= p50_seconds <= p90_seconds <= MAX_SECONDS:
        raise OutOfRange(f"the quantiles of an ETA must be ascending, within 0 and {MAX_SECONDS} seconds")


def check_text(name: str, value: str | None, most: int, least: int = 0) -> None:
    """Raises InvalidType unless ``value`` is None or a printable text of ``least`` to ``most`` code points."""
    if value is not None and not (least <= len(value) <= most and value.isprintable()):
        raise InvalidType(f"{name} must be a printable string of {least} to {most} characters")
