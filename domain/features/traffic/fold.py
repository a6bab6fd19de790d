"""The fold of a rider's traffic: the sums of the counted steps, exact even when a ping comes late.

The state has one fix for each ten seconds of three buckets of event time, and the sums of the steps between them by
bucket, cell and octant. A ping that falls between two fixes replaces the step that it splits. A step counts in the
bucket of its later fix. What an event changed is the difference of two states: ``traffic.changes``.
"""

from __future__ import annotations

from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.keyed_event import KeyedEvent
from domain.features.movement import SLOT_MS, WORST_ACCURACY_M, PathFix, path_fix
from domain.features.traffic.steps import BUCKET_MS, TrafficStep, step_between

KEPT_BUCKETS = 3
"""The bucket of the newest fix and the two before it can still change; an older ping is counted, not used."""

FIX_BYTES = 16
_FIX = Struct(">qii")


class CellSum(NamedTuple):
    """The rider's counted steps of one bucket in one cell and heading octant."""

    cell: int
    octant: int
    ms: int
    mm: int


class BucketSums(NamedTuple):
    """The sums of one bucket, sorted by cell and octant; never empty."""

    bucket: int
    sums: tuple[CellSum, ...]


class TrafficState(NamedTuple):
    """``version`` and ``position`` are those of the last event folded.

    ``too_late`` counts the pings that were older than the kept buckets when they came. ``track`` has the kept fixes,
    packed and sorted by time, and before them the latest fix that is older than the kept buckets: the step from it
    still counts in them. It is packed because to encode 90 fixes for each ping would cost more than all else in this
    fold. ``buckets`` has the sums of the kept buckets in order.
    """

    version: int
    position: int
    too_late: int = 0
    track: bytes = b""
    buckets: tuple[BucketSums, ...] = ()


EMPTY = TrafficState(0, 0)


def fold(state: TrafficState, event: KeyedEvent) -> TrafficState:
    """The state after one more event of the rider's stream; pure."""
    _, version, position, event_type, data = event
    _, _, too_late, track, buckets = state
    if event_type == "GpsPing":
        accuracy = data["accuracy_meters"]
        if accuracy is None or accuracy <= WORST_ACCURACY_M:
            fix = path_fix(effective_time_ms(data), data["latitude"], data["longitude"])
            last = fix_at(track, -1) if track else None
            if last is None or fix.t_ms // SLOT_MS > last.t_ms // SLOT_MS:
                track, buckets = _appended(track, buckets, last, fix)
            elif fix.t_ms // BUCKET_MS <= last.t_ms // BUCKET_MS - KEPT_BUCKETS:
                too_late += 1
            elif fix < last:
                track, buckets = _inserted(track, buckets, fix)
    return TrafficState(version, position, too_late, track, buckets)


def fix_at(track: bytes, index: int) -> PathFix:
    """The fix with this index; negative from the end."""
    return PathFix._make(_FIX.unpack_from(track, index * FIX_BYTES))


def fixes_of(track: bytes) -> list[PathFix]:
    return [PathFix._make(fields) for fields in _FIX.iter_unpack(track)]


def first_kept_bucket(track: bytes) -> int:
    """The oldest bucket that a ping can still change. The track is not empty."""
    t_ms: int = _FIX.unpack_from(track, -FIX_BYTES)[0]
    return t_ms // BUCKET_MS - KEPT_BUCKETS + 1


def _appended(
    track: bytes, buckets: tuple[BucketSums, ...], last: PathFix | None, fix: PathFix
) -> tuple[bytes, tuple[BucketSums, ...]]:
    """The usual case: a fix in a later slot than all others."""
    track += _FIX.pack(*fix)
    if last is None:
        return track, buckets
    bucket = fix.t_ms // BUCKET_MS
    if bucket > last.t_ms // BUCKET_MS:
        track = _trimmed(track, bucket - KEPT_BUCKETS + 1)
        buckets = tuple([kept for kept in buckets if kept.bucket > bucket - KEPT_BUCKETS])
    step = step_between(last, fix)
    return track, buckets if step is None else _summed(buckets, step, 1)


def _trimmed(track: bytes, first_bucket: int) -> bytes:
    """The track from the latest fix that is older than ``first_bucket``."""
    index = _count_before(track, first_bucket * BUCKET_MS)
    return track[(index - 1) * FIX_BYTES :] if index else track


def _count_before(track: bytes, t_ms: int) -> int:
    """How many fixes are earlier than ``t_ms``: a binary search."""
    low, high = 0, len(track) // FIX_BYTES
    while low < high:
        middle = (low + high) // 2
        if _FIX.unpack_from(track, middle * FIX_BYTES)[0] < t_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _inserted(track: bytes, buckets: tuple[BucketSums, ...], fix: PathFix) -> tuple[bytes, tuple[BucketSums, ...]]:
    """A fix before others in the track: the steps beside it are replaced. Of each slot the first fix is kept."""
    slot = fix.t_ms // SLOT_MS
    index = _count_before(track, slot * SLOT_MS)
    count = len(track) // FIX_BYTES
    after_index, replaced = index, None
    if index < count:
        there = fix_at(track, index)
        if there.t_ms // SLOT_MS == slot:
            if there <= fix:
                return track, buckets
            after_index, replaced = index + 1, there
    before = fix_at(track, index - 1) if index else None
    after = fix_at(track, after_index) if after_index < count else None
    for step in _steps(before, replaced, after):
        buckets = _summed(buckets, step, -1)
    for step in _steps(before, fix, after):
        buckets = _summed(buckets, step, 1)
    return track[: index * FIX_BYTES] + _FIX.pack(*fix) + track[after_index * FIX_BYTES :], buckets


def _steps(before: PathFix | None, fix: PathFix | None, after: PathFix | None) -> list[TrafficStep]:
    """The counted steps along up to three fixes."""
    path = [each for each in (before, fix, after) if each is not None]
    steps = [step_between(a, b) for a, b in pairwise(path)]
    return [step for step in steps if step is not None]


def _summed(buckets: tuple[BucketSums, ...], step: TrafficStep, sign: int) -> tuple[BucketSums, ...]:
    """The sums with one step added (``sign`` 1) or subtracted (-1). Buckets that do not change are the same objects."""
    bucket, cell, octant, ms, mm = step
    at = len(buckets)
    while at and buckets[at - 1].bucket >= bucket:
        at -= 1
    held = at < len(buckets) and buckets[at].bucket == bucket
    sums = _with_step(buckets[at].sums if held else (), CellSum(cell, octant, sign * ms, sign * mm))
    changed = (BucketSums(bucket, sums),) if sums else ()
    return (*buckets[:at], *changed, *buckets[at + held :])


def _with_step(sums: tuple[CellSum, ...], step: CellSum) -> tuple[CellSum, ...]:
    """The sorted sums with ``step`` added to its cell and octant. Every counted step has time, so 0 ms is none left."""
    cell, octant, ms, mm = step
    for at, held in enumerate(sums):
        if held.cell > cell or (held.cell == cell and held.octant > octant):
            return (*sums[:at], step, *sums[at:])
        if held.cell == cell and held.octant == octant:
            left = held.ms + ms
            changed = (CellSum(cell, octant, left, held.mm + mm),) if left else ()
            return (*sums[:at], *changed, *sums[at + 1 :])
    return (*sums, step)
