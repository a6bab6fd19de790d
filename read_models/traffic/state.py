"""Encodes the state of a rider's traffic; the sums over all riders are in the partial tables."""

from __future__ import annotations

import struct
from functools import cache
from itertools import chain

from domain.features.traffic.fold import FIX_BYTES, BucketSums, CellSum, TrafficState

NAME = "traffic"
_FORMAT = 1
_HEAD = struct.Struct(">BqqqHB")
_BUCKET = struct.Struct(">qB")
_SUM = struct.Struct(">QBIQ")


class UnreadableTrafficState(Exception):
    """The bytes were not written by this version of the read model."""


@cache
def _sums(count: int) -> struct.Struct:
    return struct.Struct(">qB" + "QBIQ" * count)


def encode(state: TrafficState) -> bytes:
    """A head of 28 bytes, 16 per fix, 9 per bucket and 21 per cell and octant, big-endian (invariant 8)."""
    version, position, too_late, track, buckets = state
    parts = [_HEAD.pack(_FORMAT, version, position, too_late, len(track) // FIX_BYTES, len(buckets)), track]
    for bucket, sums in buckets:
        count = len(sums)
        parts.append(_sums(count).pack(bucket, count, *chain.from_iterable(sums)))
    return b"".join(parts)


def decode(data: bytes) -> TrafficState:
    """The state that ``encode`` was given. Raises UnreadableTrafficState."""
    if len(data) < _HEAD.size or data[0] != _FORMAT:
        raise UnreadableTrafficState(f"{len(data)} bytes that are no traffic state of format {_FORMAT}")
    _, version, position, too_late, fixes, count = _HEAD.unpack_from(data)
    at = _HEAD.size + fixes * FIX_BYTES
    track = data[_HEAD.size : at]
    buckets: list[BucketSums] = []
    try:
        for _ in range(count):
            bucket, sums = _BUCKET.unpack_from(data, at)
            at += _BUCKET.size
            end = at + sums * _SUM.size
            buckets.append(BucketSums(bucket, tuple([CellSum._make(held) for held in _SUM.iter_unpack(data[at:end])])))
            at = end
    except struct.error as error:
        raise UnreadableTrafficState(f"a traffic state that ends within its sums: {len(data)} bytes") from error
    if at != len(data):
        raise UnreadableTrafficState(f"a traffic state of {fixes} fixes cannot have {len(data)} bytes")
    return TrafficState(version, position, too_late, track, tuple(buckets))
