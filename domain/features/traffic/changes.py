"""What one event changed in a rider's traffic: the difference of the sums before and after it."""

from __future__ import annotations

from typing import NamedTuple

from domain.features.traffic.fold import CellSum, TrafficState, first_kept_bucket


class TrafficChange(NamedTuple):
    """What to add to the sums of one bucket, cell and octant over all riders: ms, mm and riders (-1, 0 or 1).

    A rider counts once however many steps there are, so more pings do not count for more.
    """

    bucket: int
    cell: int
    octant: int
    ms: int
    mm: int
    riders: int


def changes(old: TrafficState, new: TrafficState) -> list[TrafficChange]:
    """The changes of the one event that led from ``old`` to ``new``; pure.

    Only the buckets that ``new`` can still change are compared: the older ones of ``old`` are final, and are dropped
    from the state, not from the sums.
    """
    if new.buckets is old.buckets or not new.track:
        return []
    first = first_kept_bucket(new.track)
    before = {bucket: sums for bucket, sums in old.buckets if bucket >= first}
    found: list[TrafficChange] = []
    for bucket, sums in new.buckets:
        was = before.pop(bucket, ())
        if was is not sums:
            found += _differences(bucket, was, sums)
    for bucket, was in before.items():
        found += _differences(bucket, was, ())
    return found


def _differences(bucket: int, old: tuple[CellSum, ...], new: tuple[CellSum, ...]) -> list[TrafficChange]:
    left = {held[:2]: held for held in old}
    found: list[TrafficChange] = []
    for held in new:
        was = left.pop(held[:2], None)
        if was is not held and was != held:
            cell, octant, ms, mm = held
            if was is None:
                found.append(TrafficChange(bucket, cell, octant, ms, mm, 1))
            else:
                found.append(TrafficChange(bucket, cell, octant, ms - was.ms, mm - was.mm, 0))
    found += [TrafficChange(bucket, cell, octant, -ms, -mm, -1) for cell, octant, ms, mm in left.values()]
    return found
