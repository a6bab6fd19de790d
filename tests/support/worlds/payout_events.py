"""Events of one rider's stream for specifications of payouts, and what its legs are paid, computed from scratch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.payouts.entries import PayoutEntry, local_hour
from domain.features.payouts.fold import EMPTY, PayoutState, fold
from domain.features.payouts.ids import NAMESPACE
from domain.features.payouts.packaged import packaged_tariff
from domain.features.payouts.track import RiddenFix, fix_of, ridden_mm
from read_models.payouts.state import decode, encode

MONDAY_MS = 1_795_996_800_000
"""2026-11-30T00:00:00Z, the first instant of 2026-W49."""
NOON_MS = MONDAY_MS + 12 * 3_600_000
METRES_A_DEGREE = 111_195.0797
LATITUDE, LONGITUDE = 52.5, 13.4
_EVENTS = UUID(int=7)

Event = tuple[str, dict[str, Any]]
"""Event type and record."""


def ping(t_s: float, north_m: float = 0.0, *, accuracy: float | None = 5.0, number: str = "") -> Event:
    """A ping so many metres north of the restaurant; seconds after noon."""
    t_ms = NOON_MS + round(t_s * 1_000)
    return "GpsPing", {
        "rider_id": "anna",
        "latitude": LATITUDE + north_m / METRES_A_DEGREE,
        "longitude": LONGITUDE,
        "event_timestamp_ms": t_ms,
        "accuracy_meters": accuracy,
        "event_id": str(uuid5(_EVENTS, f"ping/{number or (t_ms, north_m)}")),
        "received_timestamp_ms": 0,
    }


def ride(start_s: int, end_s: int, *, from_m: float = 0.0, mps: float = 5.0, every_s: int = 10) -> list[Event]:
    """Pings of a rider who rides north."""
    return [ping(t, from_m + (t - start_s) * mps) for t in range(start_s, end_s + 1, every_s)]


def started(order: str, t_s: float, leg: str = "to_customer", **fields: Any) -> Event:
    """A leg whose target is 100 km away, unless it is given."""
    return "LegStarted", {
        "rider_id": "anna",
        "event_timestamp_ms": NOON_MS + round(t_s * 1_000),
        "event_id": str(uuid5(_EVENTS, f"started/{order}/{leg}/{t_s}")),
        "order_id": order,
        "leg": leg,
        "target_latitude": LATITUDE + 1.0,
        "target_longitude": LONGITUDE,
        "city": "berlin",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "promised_seconds": None,
        **fields,
    }


def ended(order: str, t_s: float, leg: str = "to_customer", outcome: str = "completed") -> Event:
    return "LegEnded", {
        "rider_id": "anna",
        "event_timestamp_ms": NOON_MS + round(t_s * 1_000),
        "event_id": str(uuid5(_EVENTS, f"ended/{order}/{leg}/{t_s}")),
        "order_id": order,
        "leg": leg,
        "outcome": outcome,
    }


def statement_closed(period: str, currency: str = "EUR") -> Event:
    data = {"event_timestamp_ms": NOON_MS, "event_id": str(uuid5(_EVENTS, f"closed/{period}/{currency}"))}
    return "StatementClosed", {"rider_id": "anna", **data, "period": period, "currency": currency, "by": "ruth"}


def folded(events: Iterable[Event], *, through_bytes: bool = False) -> tuple[PayoutState, list[PayoutEntry]]:
    """The last state, and all entries in order."""
    state = EMPTY
    entries: list[PayoutEntry] = []
    for number, (event_type, data) in enumerate(events, start=1):
        before = decode(encode(state)) if through_bytes else state
        state = fold(before, KeyedEvent("anna", number, number, event_type, data))
        entries += state.entries
    return state, entries


def payout_id(order: str, leg: str = "to_customer") -> str:
    """The id of the payout of a completed leg."""
    return str(uuid5(UUID(bytes=NAMESPACE), f"completed/{order}/{leg}"))


def paid(entries: Iterable[PayoutEntry]) -> dict[str, int]:
    """The sum of payout and adjustments, by payout id."""
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.payout_id] = sums.get(entry.payout_id, 0) + entry.amount_minor
    return sums


class WholeLeg(NamedTuple):
    """A leg with its span, as all events together say."""

    start_ms: int
    order_id: str
    leg: str
    end_ms: int
    data: dict[str, Any]
    outcome: str


def direct(events: Sequence[Event]) -> dict[tuple[str, str], int]:
    """The amount of each completed leg (order, leg), from all events sorted, in fractions; no leg is started twice."""
    legs = _legs(events)
    fixes: dict[int, RiddenFix] = {}
    for event_type, data in events:
        if event_type == "GpsPing" and (data["accuracy_meters"] is None or data["accuracy_meters"] <= 50):
            fix = RiddenFix._make(fix_of(data, effective_time_ms(data)))
            fixes[fix.slot] = min(fixes.get(fix.slot, fix), fix)
    track = [fixes[slot] for slot in sorted(fixes)]
    mm = dict.fromkeys(range(len(legs)), 0)
    waited = dict.fromkeys(range(len(legs)), 0)
    for a, b in pairwise(track):
        sharing = [n for n, leg in enumerate(legs) if leg.start_ms <= b.t_ms < leg.end_ms]
        step = ridden_mm(a, b)
        for n in sharing:
            mm[n] += step // len(sharing)
        if sharing:
            mm[sharing[0]] += step % len(sharing)
        at_target = [n for n in sharing if _is_at(legs[n], a) and _is_at(legs[n], b)]
        if at_target and b.t_ms - a.t_ms <= 3_600_000:
            waited[at_target[0]] += b.t_ms - a.t_ms
    return {
        (leg.order_id, leg.leg): price(leg, mm[n], waited[n])
        for n, leg in enumerate(legs)
        if leg.outcome == "completed"
    }


def price(leg: WholeLeg, mm: int, waited_ms: int) -> int:
    """The price in minor units by docs/payments.md, computed from the texts of the tariff file."""
    version = packaged_tariff().at(leg.end_ms)
    rates = version.currencies.get(leg.data["currency"])
    if rates is None:
        return 0
    minor = 100
    items = [
        Fraction(rates.texts[leg.leg]) * minor,
        Fraction(mm, 1_000_000) * Fraction(rates.texts["per_km"]) * minor,
        Fraction(max(0, waited_ms - 300_000), 60_000) * Fraction(rates.texts["waiting_per_minute"]) * minor,
    ]
    subtotal = sum(math.floor(item + Fraction(1, 2)) for item in items)
    hour = local_hour(leg.data["time_zone"], leg.end_ms)
    night = Fraction(subtotal * 250, 1_000) if hour is not None and (hour >= 22 or hour < 6) else Fraction(0)
    return subtotal + math.floor(night + Fraction(1, 2))


def items_of(entry: PayoutEntry) -> dict[str, dict[str, Any]]:
    return {item["item"]: item for item in json.loads(entry.items)}


def _legs(events: Sequence[Event]) -> list[WholeLeg]:
    starts = {(d["order_id"], d["leg"]): d for kind, d in events if kind == "LegStarted"}
    ends = {(d["order_id"], d["leg"]): d for kind, d in events if kind == "LegEnded"}
    legs = []
    for (order, leg), data in starts.items():
        end = ends.get((order, leg))
        end_ms = end["event_timestamp_ms"] if end else 1 << 62
        outcome = end["outcome"] if end else "open"
        legs.append(WholeLeg(data["event_timestamp_ms"], order, leg, end_ms, data, outcome))
    return sorted(legs, key=lambda leg: leg[:3])


def _is_at(leg: WholeLeg, fix: RiddenFix) -> bool:
    north = fix.latitude_e7 / 1e7 - round(leg.data["target_latitude"] * 1e7) / 1e7
    east = (fix.longitude_e7 / 1e7 - leg.data["target_longitude"]) * math.cos(math.radians(leg.data["target_latitude"]))
    return bool(max(abs(north), abs(east)) * 1e7 <= 8_993.000_1)
