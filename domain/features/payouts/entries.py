"""The entries that the fold makes: payouts and adjustments, with the items and events that each cent comes from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha1
from json import dumps
from typing import Any, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.payouts.ids import (
    adjustment_id,
    completed_id,
    ended_otherwise_id,
    uuid_bytes,
    uuid_text,
)
from domain.features.payouts.legs import MAX_KNOWN_ADJUSTERS, NO_ID, LegPay, Measured, PaidLeg
from domain.features.payouts.packaged import packaged_tariff, packaged_zone
from domain.features.payouts.periods import period_name
from domain.features.payouts.tariff import LegQuantities, PriceItem, completed_price, otherwise_price, total

PAYOUT = "payout"
ADJUSTMENT = "adjustment"
Events = dict[str, Any]
"""The events of an item: ``count``, and the ids ``first`` and ``last``."""


class PayoutEntry(NamedTuple):
    """One payment or correction of one; amounts in minor units of ``currency`` (ISO 4217, empty if unknown).

    ``entry_id`` of a payout is its ``payout_id``. ``items`` is canonical JSON whose amounts add up to ``amount_minor``.
    ``period`` is the statement that the entry is on. ``seq``: 1, 2, 3 … within the rider. ``ended_ms``: the end of the
    leg, epoch milliseconds.
    """

    entry_id: str
    kind: str
    payout_id: str
    order_id: str
    leg: str
    outcome: str
    currency: str
    amount_minor: int
    items: str
    tariff_version: int
    ended_ms: int
    period: str
    position: int
    seq: int


def completed_entry(leg: PaidLeg, measured: Measured, event: KeyedEvent, seq: int, week: int) -> PayoutEntry:
    """The payout of a leg that ended ``completed``: always an entry, also of 0 where the tariff has no rates."""
    version = packaged_tariff().at(leg.ended_ms)
    prices = _completed(leg, LegQuantities(measured.mm, measured.waited_ms))
    legs_events = _events(2, leg.started_by, uuid_bytes(event.data["event_id"]))
    fixes = _events(measured.fixes, measured.first_fix, measured.last_fix)
    items = [_item(price, legs_events if price.item in ("base", "night") else fixes) for price in prices]
    for item in items:
        if item["item"] == "waiting":
            item |= {"waited_ms": measured.waited_ms, "free_ms": version.waiting_free_ms}
    if not prices:
        items = [{"item": "no_rates", "amount_minor": 0, "events": legs_events}]
    payout_id = uuid_text(completed_id(leg.order_id, leg.leg))
    return PayoutEntry(
        payout_id,
        PAYOUT,
        payout_id,
        leg.order_id,
        leg.leg,
        event.data["outcome"],
        leg.currency,
        total(prices),
        _canonical(items),
        version.version,
        leg.ended_ms,
        period_name(week),
        event.position,
        seq,
    )


def otherwise_entry(leg: PaidLeg, event: KeyedEvent, seq: int, week: int) -> PayoutEntry | None:
    """The payout of a leg that ended otherwise, by the tariff's own item; None if that is 0."""
    version = packaged_tariff().at(leg.ended_ms)
    prices = otherwise_price(version, leg.currency)
    if not prices:
        return None
    ended_by = uuid_bytes(event.data["event_id"])
    payout_id = uuid_text(ended_otherwise_id(leg.order_id, leg.leg, event.key, leg.started_by))
    return PayoutEntry(
        payout_id,
        PAYOUT,
        payout_id,
        leg.order_id,
        leg.leg,
        event.data["outcome"],
        leg.currency,
        total(prices),
        _canonical([_item(price, _events(2, leg.started_by, ended_by)) for price in prices]),
        version.version,
        leg.ended_ms,
        period_name(week),
        event.position,
        seq,
    )


def entry_of_unknown_start(event: KeyedEvent, seq: int, week: int) -> PayoutEntry:
    """The payout of 0 for a completed leg whose start cannot be read: so that a person sees that it is not paid."""
    data = event.data
    ended_by = uuid_bytes(data["event_id"])
    ended_ms = effective_time_ms(data)
    payout_id = uuid_text(completed_id(data["order_id"], data["leg"]))
    return PayoutEntry(
        payout_id,
        PAYOUT,
        payout_id,
        data["order_id"],
        data["leg"],
        data["outcome"],
        "",
        0,
        _canonical([{"item": "start_unknown", "amount_minor": 0, "events": _events(1, ended_by, ended_by)}]),
        packaged_tariff().at(ended_ms).version,
        ended_ms,
        period_name(week),
        event.position,
        seq,
    )


def adjusted(
    leg: PaidLeg, quantities: LegQuantities, event: KeyedEvent, seq: int, week: int
) -> tuple[LegPay, PayoutEntry | None]:
    """The pay of a leg with new quantities, and the adjustment if they change its amount; None if they do not."""
    pay = leg.pay
    assert pay is not None
    event_id = uuid_bytes(event.data["event_id"])
    first = pay.pending_first if pay.pending else event_id
    old = _completed(leg, LegQuantities(pay.entry_mm, pay.entry_waited_ms))
    new = _completed(leg, quantities)
    amount = total(new) - total(old)
    if not amount:
        return pay._replace(
            mm=quantities.mm, waited_ms=quantities.waited_ms, pending=pay.pending + 1, pending_first=first
        ), None
    made_id, adjusters = _unique_id(leg, pay, event)
    events = _events(pay.pending + 1, first, event_id)
    paid = LegPay(*quantities, *quantities, 0, NO_ID, pay.adjustments + 1, adjusters)
    entry = PayoutEntry(
        uuid_text(made_id),
        ADJUSTMENT,
        uuid_text(completed_id(leg.order_id, leg.leg)),
        leg.order_id,
        leg.leg,
        "completed",
        leg.currency,
        amount,
        _canonical(_differences(old, new, events)),
        packaged_tariff().at(leg.ended_ms).version,
        leg.ended_ms,
        period_name(week),
        event.position,
        seq,
    )
    return paid, entry


def _unique_id(leg: PaidLeg, pay: LegPay, event: KeyedEvent) -> tuple[bytes, bytes]:
    """The id of an adjustment, and the known adjusters with its event.

    A client may send one event id with two times, and both are pings. The name of the second has its time: with one id
    one of the two would be lost.
    """
    event_id = event.data["event_id"]
    payout_id = completed_id(leg.order_id, leg.leg)
    mark = sha1(event_id.encode(), usedforsecurity=False).digest()[:4]
    known = [pay.adjusters[start : start + 4] for start in range(0, len(pay.adjusters), 4)]
    if mark in known or len(known) == MAX_KNOWN_ADJUSTERS:
        return adjustment_id(payout_id, event_id, event.data["event_timestamp_ms"]), pay.adjusters
    return adjustment_id(payout_id, event_id), pay.adjusters + mark


def _completed(leg: PaidLeg, quantities: LegQuantities) -> tuple[PriceItem, ...]:
    version = packaged_tariff().at(leg.ended_ms)
    night = version.is_night(local_hour(leg.time_zone, leg.ended_ms))
    return completed_price(version, leg.currency, leg.leg, quantities, night=night)


def local_hour(time_zone: str, t_ms: int) -> int | None:
    """The hour of the day in a time zone, 0 to 23; None if the zone is unknown."""
    zone = packaged_zone(time_zone) if time_zone else None
    return None if zone is None else datetime.fromtimestamp(t_ms // 1_000, zone).hour


def _differences(old: tuple[PriceItem, ...], new: tuple[PriceItem, ...], events: Events) -> list[dict[str, Any]]:
    """The items that changed, each with its quantity before; their amounts add up to that of the adjustment."""
    before = {price.item: price for price in old}
    found = []
    for price in new:
        was = before[price.item]
        if price != was:
            difference = price._replace(amount_minor=price.amount_minor - was.amount_minor)
            found.append(_item(difference, events) | {"quantity_before": was.quantity})
    return found


def _item(price: PriceItem, events: Events) -> dict[str, Any]:
    return price._asdict() | {"events": events}


def _events(count: int, first: bytes, last: bytes) -> Events:
    if not count:
        return {"count": 0, "first": None, "last": None}
    return {"count": count, "first": uuid_text(first), "last": uuid_text(last)}


def _canonical(items: list[Mapping[str, Any]] | list[dict[str, Any]]) -> str:
    """Sorted keys, no blanks: equal items give equal texts."""
    return dumps(items, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
