"""The fold of a rider's payouts: one payout for each leg that ended, and an adjustment for each later change of it.

The state has the fixes of 15 to 20 minutes, the legs that can still be paid or changed, and the closed statements.
What an event makes is in ``entries``, which are not stored: they are rows. Payout and adjustments of a leg add up to
its price over all events, in whatever order pings came within the kept fixes (invariant 6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.legs import LEGS, MAX_OPEN_LEGS
from domain.features.movement import SLOT_MS, WORST_ACCURACY_M
from domain.features.payouts.entries import (
    PayoutEntry,
    adjusted,
    completed_entry,
    entry_of_unknown_start,
    otherwise_entry,
)
from domain.features.payouts.legs import (
    MAX_ENDED_LEGS,
    LegPay,
    PaidLeg,
    PaidLegs,
    measured,
    settle,
    shares,
    started_leg,
)
from domain.features.payouts.packed_legs import NO_LEGS, HeldLegs, held_legs
from domain.features.payouts.periods import week_named, week_of
from domain.features.payouts.tariff import LegQuantities
from domain.features.payouts.track import (
    BUCKET_MS,
    FixStep,
    appended,
    cut,
    fix_of,
    inserted,
    kept_from_ms,
    last_fix,
)

COMPLETED = "completed"
NOT_CLOSED = -1
"""Earlier than the week of any event."""

MAX_CLOSED_CURRENCIES = 256
"""ISO 4217 has fewer currencies; bounds the state."""


class PayoutState(NamedTuple):
    """``version`` and ``position`` are those of the last event folded; ``made`` counts the entries so far.

    ``too_late`` counts the pings that were older than the kept fixes when they came, and the starts and ends of legs
    that were dated so; ``unknown_ends`` the ends of legs that are not open; ``not_kept`` the legs that were given up
    because of a bound. ``closed`` has the last closed week of each currency, sorted.
    """

    version: int = 0
    position: int = 0
    made: int = 0
    too_late: int = 0
    unknown_ends: int = 0
    not_kept: int = 0
    track: bytes = b""
    held: HeldLegs = NO_LEGS
    closed: tuple[tuple[str, int], ...] = ()
    entries: tuple[PayoutEntry, ...] = ()


EMPTY = PayoutState()


def fold(state: PayoutState, event: KeyedEvent) -> PayoutState:
    """The state after one more event of the rider's stream; pure."""
    handle = _ping if event.event_type == "GpsPing" else _HANDLERS.get(event.event_type)
    if handle is None:
        return state._replace(version=event.version, position=event.position, entries=())
    return handle(state, event)


def _ping(state: PayoutState, event: KeyedEvent) -> PayoutState:
    _, version, position, _, data = event
    _, _, made, too_late, unknown_ends, not_kept, track, held, closed, _ = state
    accuracy = data["accuracy_meters"]
    entries: tuple[PayoutEntry, ...] = ()
    if accuracy is None or accuracy <= WORST_ACCURACY_M:
        t_ms = effective_time_ms(data)
        fix = fix_of(data, t_ms)
        last = last_fix(track) if track else None
        if last is None or t_ms // SLOT_MS > last[0] // SLOT_MS:
            track = appended(track, last, fix)
            if t_ms < held.paid_until_ms:
                held, entries = _changed(state, event, (), ((last, last_fix(track)),))
            if last is not None and t_ms // BUCKET_MS > last[0] // BUCKET_MS:
                track, held = _settled(track, held, kept_from_ms(last[0]), kept_from_ms(t_ms))
        elif t_ms < kept_from_ms(last[0]):
            too_late += 1
        elif (replaced := inserted(track, fix)) is not None:
            track = replaced.track
            if t_ms < held.paid_until_ms:
                held, entries = _changed(state, event, replaced.removed, replaced.added)
    return PayoutState(
        version, position, made + len(entries), too_late, unknown_ends, not_kept, track, held, closed, entries
    )


def _settled(track: bytes, held: HeldLegs, from_ms: int, later_from_ms: int) -> tuple[bytes, HeldLegs]:
    """The track without the fixes that are settled, and the legs without those that nothing can change any more."""
    if held.legs:
        legs = settle(track, held.legs, from_ms, later_from_ms)
        held = held_legs(tuple([leg for leg in legs if leg.ended_ms > later_from_ms]))
    return cut(track, later_from_ms), held


def _changed(
    state: PayoutState, event: KeyedEvent, removed: Sequence[FixStep], added: Sequence[FixStep]
) -> tuple[HeldLegs, tuple[PayoutEntry, ...]]:
    """Adjust the paid legs to steps that an event removes and adds. An open leg is measured when it ends."""
    legs = state.held.legs
    deltas: dict[int, tuple[int, int]] = {}
    for sign, steps in ((-1, removed), (1, added)):
        for step in steps:
            for place, mm, waited_ms in shares(legs, step):
                was = deltas.get(place, (0, 0))
                deltas[place] = was[0] + sign * mm, was[1] + sign * waited_ms
    changed: dict[int, LegQuantities] = {}
    for place, (mm, waited_ms) in deltas.items():
        pay = legs[place].pay
        if pay is not None and (mm or waited_ms):
            changed[place] = LegQuantities(pay.mm + mm, pay.waited_ms + waited_ms)
    return _adjusted(state, event, changed)


def _adjusted(
    state: PayoutState, event: KeyedEvent, changed: Mapping[int, LegQuantities]
) -> tuple[HeldLegs, tuple[PayoutEntry, ...]]:
    """The legs with their new quantities, and the adjustments of those whose amount changed."""
    if not changed:
        return state.held, ()
    legs = list(state.held.legs)
    entries: list[PayoutEntry] = []
    for place, quantities in sorted(changed.items()):
        seq = state.made + len(entries) + 1
        pay, entry = adjusted(legs[place], quantities, event, seq, _open_week(state, legs[place]))
        legs[place] = legs[place]._replace(pay=pay)
        if entry is not None:
            entries.append(entry)
    return held_legs(tuple(legs)), tuple(entries)


def _started(state: PayoutState, event: KeyedEvent) -> PayoutState:
    data = event.data
    state = state._replace(version=event.version, position=event.position, entries=())
    if data["leg"] not in LEGS:
        return state
    leg = started_leg(data)
    # The aggregate starts no leg twice and no 21st; a log with an event that cannot be read may have either.
    others = tuple([each for each in state.held.legs if not (each.is_open and _is(each, data))])
    if sum(each.is_open for each in others) >= MAX_OPEN_LEGS:
        return state._replace(not_kept=state.not_kept + 1)
    state = _dated(state, leg.started_ms)
    return _recomputed(state, event, tuple(sorted([*others, leg], key=_order)), leg.started_ms)


def _ended(state: PayoutState, event: KeyedEvent) -> PayoutState:
    data, before = event.data, state.held.legs
    state = state._replace(version=event.version, position=event.position, entries=())
    if data["leg"] not in LEGS:
        return state
    place = next((place for place, each in enumerate(before) if each.is_open and _is(each, data)), None)
    if place is None:
        return _unknown_end(state, event)
    if data["outcome"] == COMPLETED and _is_paid(before, data):
        # The aggregate completes no leg twice; a second payout would have the id of the first.
        legs = (*before[:place], *before[place + 1 :])
        return state._replace(held=held_legs(legs), unknown_ends=state.unknown_ends + 1)
    ended_ms = effective_time_ms(data)
    leg = before[place]._replace(ended_ms=ended_ms)
    state = _recomputed(_dated(state, ended_ms), event, (*before[:place], leg, *before[place + 1 :]), ended_ms)
    legs, week = state.held.legs, _open_week(state, leg)
    if data["outcome"] == COMPLETED:
        found = measured(state.track, legs, legs[place])
        entry: PayoutEntry | None = completed_entry(leg, found, event, state.made + 1, week)
        leg = leg._replace(pay=LegPay(found.mm, found.waited_ms, found.mm, found.waited_ms))
    else:
        entry = otherwise_entry(leg, event, state.made + 1, week)
    if entry is not None:
        state = state._replace(made=state.made + 1, entries=(*state.entries, entry))
    return _bounded(state, (*legs[:place], leg, *legs[place + 1 :]))


def _unknown_end(state: PayoutState, event: KeyedEvent) -> PayoutState:
    """The end of a leg that is not open: it was paid already, or its start cannot be read."""
    data = event.data
    state = state._replace(unknown_ends=state.unknown_ends + 1)
    if data["outcome"] != COMPLETED or _is_paid(state.held.legs, data):
        return state
    entry = entry_of_unknown_start(event, state.made + 1, max(week_of(effective_time_ms(data)), _closed(state, "") + 1))
    return state._replace(made=state.made + 1, entries=(entry,))


def _recomputed(state: PayoutState, event: KeyedEvent, legs: PaidLegs, from_ms: int) -> PayoutState:
    """The state with legs whose spans changed from an instant on: usually no fix is later than it."""
    track = state.track
    state = state._replace(held=held_legs(legs))
    if not track or last_fix(track)[0] < from_ms:
        return state
    changed: dict[int, LegQuantities] = {}
    for place, leg in enumerate(legs):
        if leg.pay is not None and leg.ended_ms > from_ms:
            quantities = LegQuantities(*measured(track, legs, leg)[:2])
            if quantities != leg.pay[:2]:
                changed[place] = quantities
    held, entries = _adjusted(state, event, changed)
    return state._replace(held=held, entries=entries, made=state.made + len(entries))


def _dated(state: PayoutState, at_ms: int) -> PayoutState:
    """Counts an event of a leg that is older than the kept fixes: settled steps stay where they are."""
    late = bool(state.track) and at_ms < kept_from_ms(last_fix(state.track)[0])
    return state._replace(too_late=state.too_late + 1) if late else state


def _bounded(state: PayoutState, legs: PaidLegs) -> PayoutState:
    """At most MAX_ENDED_LEGS ended legs: the one that ended first is given up."""
    if state.track:
        from_ms = kept_from_ms(last_fix(state.track)[0])
        legs = tuple([leg for leg in legs if leg.ended_ms > from_ms])
    ended = [leg for leg in legs if not leg.is_open]
    if len(ended) > MAX_ENDED_LEGS:
        oldest = min(ended, key=lambda leg: (leg.ended_ms, *_order(leg)))
        legs = tuple([leg for leg in legs if leg is not oldest])
        state = state._replace(not_kept=state.not_kept + 1)
    return state._replace(held=held_legs(legs))


def _statement_closed(state: PayoutState, event: KeyedEvent) -> PayoutState:
    currency, week = event.data["currency"], week_named(event.data["period"])
    closed = dict(state.closed)
    if currency in closed or len(closed) < MAX_CLOSED_CURRENCIES:
        closed[currency] = max(week, closed.get(currency, week))
    return state._replace(
        version=event.version, position=event.position, entries=(), closed=tuple(sorted(closed.items()))
    )


def _closed(state: PayoutState, currency: str) -> int:
    """The last closed week of a currency."""
    return next((week for name, week in state.closed if name == currency), NOT_CLOSED)


def _open_week(state: PayoutState, leg: PaidLeg) -> int:
    """The week whose statement an entry of the leg goes to: that of its end, or the first open one after it."""
    return max(week_of(leg.ended_ms), _closed(state, leg.currency) + 1)


def _is(leg: PaidLeg, data: Mapping[str, Any]) -> bool:
    return bool(leg.order_id == data["order_id"] and leg.leg == data["leg"])


def _is_paid(legs: PaidLegs, data: Mapping[str, Any]) -> bool:
    return any(each.pay is not None and _is(each, data) for each in legs)


def _order(leg: PaidLeg) -> tuple[int, str, str, bytes]:
    return leg.started_ms, leg.order_id, leg.leg, leg.started_by


_HANDLERS: dict[str, Callable[[PayoutState, KeyedEvent], PayoutState]] = {
    "LegStarted": _started,
    "LegEnded": _ended,
    "StatementClosed": _statement_closed,
}
