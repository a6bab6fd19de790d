"""Encodes a rider's completion state, as bytes from which the next event is folded."""

from __future__ import annotations

import struct
from typing import Final

from domain.features.completion.button import ButtonView
from domain.features.completion.fold import CompletionState
from domain.features.completion.leg import TrackedLeg
from domain.features.completion.packed_progress import packed_progress, progress_size, unpacked_progress
from domain.features.completion.progress import LegPlace
from domain.features.completion.track import FIX_BYTES, KEPT_BLOCKS
from domain.features.legs import LEGS, TO_CUSTOMER

_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">BqqqqqHB")
_LEG: Final = struct.Struct(">BiiqBH")
_ENDED: Final = struct.Struct(">q16sqHIqqq")


class UnreadableCompletionState(Exception):
    """The bytes were not written by this version of the read model."""


def encode(state: CompletionState) -> bytes:
    """A head of 44 bytes, FIX_BYTES a fix, and per leg 20, its order id in UTF-8 and 8 to 540 of progress.

    Big-endian. Most legs are en route, with 2 bytes for each progress. An ended leg has 68 bytes more.
    """
    version, position, too_late, inaccurate, not_kept, track, legs, _, _ = state
    head = _HEAD.pack(_FORMAT, version, position, too_late, inaccurate, not_kept, len(track) // FIX_BYTES, len(legs))
    if not legs:
        return head + track
    parts, pack = [head, track], _LEG.pack
    for order_id, leg, (north, east, started_ms), end, ended_ms, ended_event, checkpoints, now, view in legs:
        order = order_id.encode()
        parts += (pack(leg == TO_CUSTOMER, north, east, started_ms, end, len(order)), order, *checkpoints)
        parts.append(packed_progress(now))
        if end:
            parts.append(_ENDED.pack(ended_ms, ended_event, *view))
    return b"".join(parts)


def decode(data: bytes) -> CompletionState:
    """The state that ``encode`` was given, without what its last event changed. Raises UnreadableCompletionState."""
    if len(data) < _HEAD.size or data[0] != _FORMAT:
        raise UnreadableCompletionState(f"{len(data)} bytes that are no completion state of format {_FORMAT}")
    _, version, position, too_late, inaccurate, not_kept, fixes, count = _HEAD.unpack_from(data)
    at = _HEAD.size + fixes * FIX_BYTES
    track = data[_HEAD.size : at]
    legs: list[TrackedLeg] = []
    try:
        for _ in range(count):
            leg, at = _leg(data, at)
            legs.append(leg)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise UnreadableCompletionState(f"a completion state that ends within its legs: {error}") from error
    if at != len(data):
        raise UnreadableCompletionState(f"a completion state of {count} legs cannot have {len(data)} bytes")
    return CompletionState(version, position, too_late, inaccurate, not_kept, track, tuple(legs))


def _leg(data: bytes, at: int) -> tuple[TrackedLeg, int]:
    """The leg at an offset, and the offset after it."""
    to_customer, latitude, longitude, started_ms, end, length = _LEG.unpack_from(data, at)
    at += _LEG.size
    order_id, at = data[at : at + length].decode(), at + length
    checkpoints = []
    for _ in range(KEPT_BLOCKS):
        size = progress_size(data, at)
        checkpoints.append(data[at : at + size])
        at += size
    now = unpacked_progress(data, at)
    at += progress_size(data, at)
    place = LegPlace(latitude, longitude, started_ms)
    leg = TrackedLeg(order_id, LEGS[to_customer], place, end, checkpoints=tuple(checkpoints), now=now)
    if end:
        ended_ms, ended_event, *view = _ENDED.unpack_from(data, at)
        leg = leg._replace(ended_ms=ended_ms, ended_event=ended_event, view=ButtonView._make(view))
        at += _ENDED.size
    return leg, at
