"""The rider's kept fixes, packed and sorted, and the integer path between them.

Of each ten seconds the first fix is used. A fix can still be inserted into the bucket of the newest one and the
KEPT_BUCKETS - 1 before it; the steps into older fixes are settled. The latest of those stays, as the start of the step
into the kept buckets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any, NamedTuple

from domain.features.geo import haversine_mm
from domain.features.movement import DEGREES_E7, FASTEST_MM_PER_S, LONGEST_STEP_MS, SLOT_MS, SLOWEST_MM_PER_S

BUCKET_MS = 300_000
KEPT_BUCKETS = 4
"""15 to 20 minutes. What comes later than that after a newer fix is counted, not used: it bounds the state (invariant
15). Whole buckets, so that steps are settled once in five minutes and not for each ping."""

LONGEST_GAP_MS = 3_600_000
"""Over a longer silence nothing is known of the way, so nothing is paid for it. Bounds a step to 144 km, 32 bits."""

SHORTEST_GAP_WAY_MM = 100_000
"""Over a gap of more than two minutes, less than 100 m may be the noise of two bad fixes (50 m each)."""

FIX_BYTES = 36
_FIX = Struct(">qii16sI")
_TIME = Struct(">q")


class RiddenFix(NamedTuple):
    """One used fix; sorts by time, then place, then id. Effective time in epoch ms, WGS84 in 10⁻⁷ degrees.

    ``mm``: whole millimetres ridden from the fix before it in the track; 0 if there is none, or it is no movement.
    """

    t_ms: int
    latitude_e7: int
    longitude_e7: int
    event_id: bytes
    mm: int = 0

    @property
    def slot(self) -> int:
        return self.t_ms // SLOT_MS


FixFields = tuple[int, int, int, bytes, int]
"""The fields of a ``RiddenFix``: for each ping a plain tuple, which costs a third."""

FixStep = tuple[FixFields | None, FixFields]
"""A fix with the fix before it; None for the first fix of a track."""


class ReplacedSteps(NamedTuple):
    """What a late fix changes: the steps that it removes, and those that it adds instead, each as its two fixes.

    ``track``: the track with the fix.
    """

    track: bytes
    removed: tuple[FixStep, ...]
    added: tuple[FixStep, ...]


def fix_of(data: Mapping[str, Any], t_ms: int) -> FixFields:
    """The fix of a ping's record, with its effective time."""
    event_id = bytes.fromhex(data["event_id"].replace("-", ""))
    return t_ms, round(data["latitude"] * DEGREES_E7), round(data["longitude"] * DEGREES_E7), event_id, 0


def ridden_mm(a: FixFields, b: FixFields) -> int:
    """Whole millimetres that are paid from ``a`` to the later fix ``b``: the great circle between them, or 0.

    Up to two minutes apart a step counts from 1 to 40 m/s (the limits of ``domain.features.movement``): less is a phone
    at rest, more a wrong fix. Over a longer gap, up to an hour, the straight way counts if it is at least 100 m and not
    faster than 40 m/s: a phone without network loses the bends of a ride, not the ride.
    """
    t1_ms, latitude1, longitude1, _, _ = a
    t2_ms, latitude2, longitude2, _, _ = b
    ms = t2_ms - t1_ms
    if not 0 < ms <= LONGEST_GAP_MS or (latitude1 == latitude2 and longitude1 == longitude2):
        return 0
    mm = haversine_mm(latitude1 / DEGREES_E7, longitude1 / DEGREES_E7, latitude2 / DEGREES_E7, longitude2 / DEGREES_E7)
    if mm * 1_000 > FASTEST_MM_PER_S * ms:
        return 0
    least = SLOWEST_MM_PER_S * ms if ms <= LONGEST_STEP_MS else SHORTEST_GAP_WAY_MM * 1_000
    return mm if mm * 1_000 >= least else 0


def fix_at(track: bytes, index: int) -> RiddenFix:
    """The fix with this index; negative from the end."""
    return RiddenFix._make(_FIX.unpack_from(track, index * FIX_BYTES))


def fixes_of(track: bytes) -> list[RiddenFix]:
    return [RiddenFix._make(fields) for fields in _FIX.iter_unpack(track)]


def count_before(track: bytes, t_ms: int) -> int:
    """How many fixes are earlier than ``t_ms``: a binary search."""
    low, high = 0, len(track) // FIX_BYTES
    while low < high:
        middle = (low + high) // 2
        if _TIME.unpack_from(track, middle * FIX_BYTES)[0] < t_ms:
            low = middle + 1
        else:
            high = middle
    return low


def last_fix(track: bytes) -> FixFields:
    """The newest fix. The track is not empty."""
    found: FixFields = _FIX.unpack_from(track, len(track) - FIX_BYTES)
    return found


def kept_from_ms(newest_ms: int) -> int:
    """The first instant at which a fix can still be inserted, if the newest fix is of ``newest_ms``."""
    return (newest_ms // BUCKET_MS - KEPT_BUCKETS + 1) * BUCKET_MS


def appended(track: bytes, last: FixFields | None, fix: FixFields) -> bytes:
    """The track with a fix in a later slot than ``last``, its newest one."""
    t_ms, latitude, longitude, event_id, _ = fix
    mm = 0 if last is None else ridden_mm(last, fix)
    return track + _FIX.pack(t_ms, latitude, longitude, event_id, mm)


def fixes_between(track: bytes, from_ms: int, to_ms: int) -> tuple[FixFields | None, Iterator[FixFields]]:
    """The fixes in [from, to), and the fix before the first of them."""
    first, past = count_before(track, from_ms), count_before(track, to_ms)
    before: FixFields | None = _FIX.unpack_from(track, (first - 1) * FIX_BYTES) if first else None
    return before, _FIX.iter_unpack(track[first * FIX_BYTES : past * FIX_BYTES])


def cut(track: bytes, later_from_ms: int) -> bytes:
    """The track from the latest fix before an instant."""
    index = count_before(track, later_from_ms)
    return track[(index - 1) * FIX_BYTES :] if index > 1 else track


def inserted(track: bytes, fields: FixFields) -> ReplacedSteps | None:
    """Insert a fix that is not later than all others; None if an earlier fix of its slot is used already."""
    fix = RiddenFix._make(fields)
    slot = fix.slot
    index = count_before(track, slot * SLOT_MS)
    count = len(track) // FIX_BYTES
    after_index, replaced = index, None
    if index < count:
        there = fix_at(track, index)
        if there.slot == slot:
            if there[:4] <= fix[:4]:
                return None
            after_index, replaced = index + 1, there
    before = fix_at(track, index - 1) if index else None
    fix = fix if before is None else fix._replace(mm=ridden_mm(before, fix))
    removed: list[FixStep] = [] if replaced is None else [(before, replaced)]
    added: list[FixStep] = [(before, fix)]
    made = _FIX.pack(*fix)
    if after_index < count:
        after = fix_at(track, after_index)
        removed.append((replaced or before, after))
        after = after._replace(mm=ridden_mm(fix, after))
        added.append((fix, after))
        made += _FIX.pack(*after)
        after_index += 1
    longer = track[: index * FIX_BYTES] + made + track[after_index * FIX_BYTES :]
    return ReplacedSteps(longer, tuple(removed), tuple(added))
