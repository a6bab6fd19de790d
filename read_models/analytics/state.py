"""Encodes the analytics state of a rider; the sums themselves are in the rows."""

from __future__ import annotations

import struct
from functools import cache
from itertools import chain

from domain.features.rider_hours import Maxima, RiderHours, TrackFix

_FORMAT = 2
_HEAD = struct.Struct(">BqqqqqqqqB")
_FIX = struct.Struct(">q16sddqq")


class UnreadableAnalyticsState(Exception):
    """The bytes were not written by this version of the read model."""


@cache
def _fixes(count: int) -> struct.Struct:
    return struct.Struct(">" + "q16sddqq" * count)


def encode(state: RiderHours) -> bytes:
    """A head of 66 bytes and 56 bytes per fix, big-endian; equal states give equal bytes (invariant 8)."""
    window = state.window
    head = _HEAD.pack(_FORMAT, state.version, state.position, *state.settled, *state.newest, len(window))
    return head + _fixes(len(window)).pack(*chain.from_iterable(window))


def decode(data: bytes) -> RiderHours:
    """The state that ``encode`` was given, without its row changes. Raises UnreadableAnalyticsState."""
    if len(data) < _HEAD.size or data[0] != _FORMAT:
        raise UnreadableAnalyticsState(f"{len(data)} bytes that are no analytics state of format {_FORMAT}")
    _, version, position, *maxima, count = _HEAD.unpack_from(data)
    if len(data) != _HEAD.size + count * _FIX.size:
        raise UnreadableAnalyticsState(f"an analytics state of {count} fixes cannot have {len(data)} bytes")
    window = tuple(TrackFix(*fields) for fields in _FIX.iter_unpack(data[_HEAD.size :]))
    return RiderHours(version, position, window, Maxima(*maxima[:3]), Maxima(*maxima[3:]))
