"""The legs of a rider that can still be paid or adjusted, and how steps are shared among them.

A step belongs to the legs in whose span, from their start to before their end, its later fix is. Its millimetres are
divided equally; the remainder is the earliest leg's. Its time counts as waiting if both of its fixes are at the target
of a leg, for the earliest of those legs: a moment of waiting counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import cos, radians
from typing import Any, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.movement import DEGREES_E7
from domain.features.payouts.ids import uuid_bytes
from domain.features.payouts.track import LONGEST_GAP_MS, FixFields, FixStep, fixes_between, kept_from_ms, last_fix

NOT_ENDED_MS = 1 << 62
"""The end of a leg that has not ended: later than any event."""

MAX_ENDED_LEGS = 40
"""Ended legs that are kept for adjustments. A rider without pings has no newer fix that would end their time."""

MAX_KNOWN_ADJUSTERS = 64
NO_ID = bytes(16)

TARGET_RADIUS_E7 = 8_993
"""100 m of latitude in 10⁻⁷ degrees: 90 % of real drop-offs are within 103 m of the address."""


class LegPay(NamedTuple):
    """What has been paid for an ended leg.

    ``mm`` and ``waited_ms`` are as of now, ``entry_mm`` and ``entry_waited_ms`` as of the last entry; ``pending``
    events, the first of them ``pending_first``, changed them in between without changing the amount. ``adjusters`` has
    4 bytes for each event id that has adjusted the payout, at most MAX_KNOWN_ADJUSTERS.
    """

    mm: int
    waited_ms: int
    entry_mm: int
    entry_waited_ms: int
    pending: int = 0
    pending_first: bytes = NO_ID
    adjustments: int = 0
    adjusters: bytes = b""


class PaidLeg(NamedTuple):
    """One leg. The span is [started_ms, ended_ms) in effective time.

    ``settled_*`` are the sums of the steps that no late ping can change any more, and the number of fixes in them, with
    the ids of the first and the last. ``pay`` is None unless the leg ended ``completed``.
    """

    started_ms: int
    order_id: str
    leg: str
    ended_ms: int
    started_by: bytes
    latitude_e7: int
    longitude_e7: int
    time_zone: str
    currency: str
    settled_mm: int = 0
    settled_waited_ms: int = 0
    settled_fixes: int = 0
    first_fix: bytes = NO_ID
    last_fix: bytes = NO_ID
    pay: LegPay | None = None

    @property
    def is_open(self) -> bool:
        return self.ended_ms == NOT_ENDED_MS


PaidLegs = tuple[PaidLeg, ...]
"""Sorted by start, order and leg: so the earliest is the first, in whatever order the events came."""


class StepShare(NamedTuple):
    """What one step gives to the leg at this place of the legs."""

    place: int
    mm: int
    waited_ms: int


def started_leg(data: Mapping[str, Any]) -> PaidLeg:
    """The leg of a LegStarted."""
    return PaidLeg(
        effective_time_ms(data),
        data["order_id"],
        data["leg"],
        NOT_ENDED_MS,
        uuid_bytes(data["event_id"]),
        round(data["target_latitude"] * DEGREES_E7),
        round(data["target_longitude"] * DEGREES_E7),
        data["time_zone"],
        data["currency"],
    )


def covering(legs: PaidLegs, t_ms: int) -> list[int]:
    """The indices of the legs in whose span an instant is."""
    return [index for index, leg in enumerate(legs) if leg[0] <= t_ms < leg[3]]


def shares(legs: PaidLegs, step: FixStep) -> list[StepShare]:
    """What a step gives to each of the legs that it belongs to."""
    a, b = step
    indices = covering(legs, b[0])
    if not indices:
        return []
    waits, ms = -1, 0
    if a is not None:
        ms = b[0] - a[0]
        if ms <= LONGEST_GAP_MS:
            waits = next((index for index in indices if is_at(legs[index], a) and is_at(legs[index], b)), -1)
    each, rest = divmod(b[4], len(indices))
    first = indices[0]
    return [StepShare(index, each + rest if index == first else each, ms if index == waits else 0) for index in indices]


def is_at(leg: PaidLeg, fix: FixFields) -> bool:
    """Whether a fix is within 100 m north or south, and 100 m east or west, of the target of the leg."""
    if abs(fix[1] - leg[5]) > TARGET_RADIUS_E7:
        return False
    east = abs(fix[2] - leg[6])
    # Over the antimeridian the difference is the whole circle less.
    return min(east, 3_600_000_000 - east) * cos(radians(leg[5] / DEGREES_E7)) <= TARGET_RADIUS_E7


class Measured(NamedTuple):
    """The quantities of a leg, and the number of fixes in its span, with the ids of the first and the last."""

    mm: int = 0
    waited_ms: int = 0
    fixes: int = 0
    first_fix: bytes = NO_ID
    last_fix: bytes = NO_ID

    def and_later(self, later: Measured) -> Measured:
        """The sum with what is measured after it."""
        if not later.fixes:
            return self
        first = self.first_fix if self.fixes else later.first_fix
        return Measured(
            self.mm + later.mm, self.waited_ms + later.waited_ms, self.fixes + later.fixes, first, later.last_fix
        )


def tally(legs: PaidLegs, before: FixFields | None, fixes: Iterable[FixFields]) -> list[Measured]:
    """The sum of ``shares`` of each leg over consecutive steps, at a fraction of the cost: the legs change seldom."""
    mm, waited, count = [0] * len(legs), [0] * len(legs), [0] * len(legs)
    firsts, lasts = [NO_ID] * len(legs), [NO_ID] * len(legs)
    places: list[int] = []
    were_at: list[bool] = []
    same_from_ms = same_until_ms = 0
    for fix in fixes:
        t_ms, _, _, event_id, step_mm = fix
        if not same_from_ms <= t_ms < same_until_ms:
            places = covering(legs, t_ms)
            bounds = [bound for leg in legs for bound in (leg[0], leg[3])]
            same_from_ms = max([bound for bound in bounds if bound <= t_ms], default=0)
            same_until_ms = min([bound for bound in bounds if bound > t_ms], default=NOT_ENDED_MS)
            were_at = [before is not None and is_at(legs[place], before) for place in places]
        if places:
            are_at = [is_at(legs[place], fix) for place in places]
            if True in are_at and before is not None and t_ms - before[0] <= LONGEST_GAP_MS:
                for place, was_at, now_at in zip(places, were_at, are_at, strict=True):
                    if was_at and now_at:
                        waited[place] += t_ms - before[0]
                        break
            were_at = are_at
            each, rest = divmod(step_mm, len(places))
            mm[places[0]] += rest
            for place in places:
                mm[place] += each
                if not count[place]:
                    firsts[place] = event_id
                count[place] += 1
                lasts[place] = event_id
        before = fix
    return [Measured._make(sums) for sums in zip(mm, waited, count, firsts, lasts, strict=True)]


def measured(track: bytes, legs: PaidLegs, leg: PaidLeg) -> Measured:
    """The quantities of one of the legs over all its steps, settled or kept. The track may be empty."""
    settled = Measured._make(leg[9:14])
    if not track or leg.ended_ms <= leg.started_ms:
        return settled
    from_ms = max(leg.started_ms, kept_from_ms(last_fix(track)[0]))
    sharing = tuple([each for each in legs if each.ended_ms > from_ms and each.started_ms < leg.ended_ms])
    own = next((place for place, each in enumerate(sharing) if each is leg), None)
    if own is None:
        return settled
    return settled.and_later(tally(sharing, *fixes_between(track, from_ms, leg.ended_ms))[own])


def settle(track: bytes, legs: PaidLegs, from_ms: int, to_ms: int) -> PaidLegs:
    """The legs with the shares of the steps into the fixes in [from, to), which nothing can change any more."""
    found = tally(legs, *fixes_between(track, from_ms, to_ms))
    return tuple(
        [
            PaidLeg._make((*leg[:9], *Measured._make(leg[9:14]).and_later(later), leg.pay)) if later.fixes else leg
            for leg, later in zip(legs, found, strict=True)
        ]
    )
