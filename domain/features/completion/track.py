"""A rider's kept fixes, packed and sorted by time: one for each five seconds of event time.

It is packed because to encode dozens of fixes for each ping would cost more than all else in the fold.
"""

from __future__ import annotations

from binascii import a2b_hex
from collections.abc import Iterator, Mapping
from math import ceil
from struct import Struct
from typing import Any, NamedTuple

from domain.features.tuples import new_tuple

SLOT_MS = 5_000
"""One fix is used for each five seconds: four of them are a rest of 20 s, and a phone that sends more often makes no
larger state."""

BLOCK_MS = 60_000
KEPT_BLOCKS = 3
"""The minute of the newest fix and the two before it can still change. An older ping is counted, not used. The lateness
of 99 % of an Android phone's fixes is below 73 s (MobilityNet)."""

NO_VALUE = 0xFFFF
"""An accuracy or a speed that the phone did not state."""

DEGREES_E7 = 10_000_000
_MAX_LATENESS_MS = (1 << 31) - 1
_FASTEST_MPS = 65.0
_MOCK_KNOWN, _MOCK, _CLOCK_AHEAD, _NO_RECEPTION = 1, 2, 4, 8

_FIX = Struct(">qiiHH16sqiB")
_TIME = Struct(">q")
FIX_BYTES = _FIX.size


class TrackedFix(NamedTuple):
    """One usable ping; sorted as a tuple.

    Effective time in epoch ms, WGS84 in 10⁻⁷ degrees, accuracy in cm and device speed in mm/s (NO_VALUE = unknown), the
    16 bytes of the event id, the position in the log. ``lateness_ms`` and ``flags`` give the times as sent and received
    and the client's word on mock fixes: ``sent_and_received``, ``is_mock``.
    """

    t_ms: int
    latitude_e7: int
    longitude_e7: int
    accuracy_cm: int
    speed_mm_s: int
    event_id: bytes
    position: int
    lateness_ms: int
    flags: int

    @property
    def sent_and_received(self) -> tuple[int, int]:
        """The event time as sent and the reception, epoch ms; a reception of 0 is unknown."""
        if self.flags & _NO_RECEPTION:
            return self.t_ms, 0
        if self.flags & _CLOCK_AHEAD:
            return self.t_ms - self.lateness_ms, self.t_ms
        return self.t_ms, self.t_ms + self.lateness_ms

    @property
    def is_mock(self) -> bool | None:
        return bool(self.flags & _MOCK) if self.flags & _MOCK_KNOWN else None


def fix_values(
    data: Mapping[str, Any], t_ms: int, position: int
) -> tuple[int, int, int, int, int, bytes, int, int, int]:
    """The fields of a TrackedFix, of a ping at its effective time. Its accuracy is at most 655 m or unknown."""
    # This runs for every ping, so nothing is called that a comparison can do.
    accuracy, speed = data["accuracy_meters"], data["speed_mps"]
    sent_ms, received_ms, mock = data["event_timestamp_ms"], data["received_timestamp_ms"], data.get("is_mock")
    flags = 0 if mock is None else _MOCK_KNOWN | _MOCK if mock else _MOCK_KNOWN
    lateness_ms = 0
    if not received_ms:
        flags |= _NO_RECEPTION
    else:
        lateness_ms = received_ms - sent_ms
        if not -_MAX_LATENESS_MS <= lateness_ms <= _MAX_LATENESS_MS:
            lateness_ms = _MAX_LATENESS_MS if lateness_ms > 0 else -_MAX_LATENESS_MS
        if t_ms != sent_ms:
            flags |= _CLOCK_AHEAD
    if speed is None or speed < 0.0:
        speed_mm_s = NO_VALUE
    else:
        speed_mm_s = round(speed * 1_000.0) if speed < _FASTEST_MPS else NO_VALUE - 1
    return (
        t_ms,
        round(data["latitude"] * DEGREES_E7),
        round(data["longitude"] * DEGREES_E7),
        # Rounded up: no fix becomes finer than the phone said.
        NO_VALUE if accuracy is None else ceil(accuracy * 100.0),
        speed_mm_s,
        a2b_hex(data["event_id"].replace("-", "")),
        position,
        lateness_ms,
        flags,
    )


packed = _FIX.pack
"""The bytes of the fields of a TrackedFix."""

unpacked_ms = _TIME.unpack_from
"""The time of the fix at an offset of a track, as a tuple of one."""


def fix_at(track: bytes, index: int) -> TrackedFix:
    """The fix with this index."""
    return new_tuple(TrackedFix, _FIX.unpack_from(track, index * FIX_BYTES))


def last_fix(track: bytes) -> TrackedFix:
    return new_tuple(TrackedFix, _FIX.unpack_from(track, len(track) - FIX_BYTES))


def last_ms(track: bytes) -> int:
    """The time of the newest fix. The track is not empty."""
    t_ms: int = unpacked_ms(track, len(track) - FIX_BYTES)[0]
    return t_ms


def first_open_ms(newest_ms: int) -> int:
    """The oldest time that a ping can still change, if the newest fix has this time."""
    return (newest_ms // BLOCK_MS - KEPT_BLOCKS + 1) * BLOCK_MS


def count_before(track: bytes, t_ms: int) -> int:
    """How many fixes are earlier than ``t_ms``: a binary search."""
    low, high = 0, len(track) // FIX_BYTES
    while low < high:
        middle = (low + high) // 2
        if unpacked_ms(track, middle * FIX_BYTES)[0] < t_ms:
            low = middle + 1
        else:
            high = middle
    return low


def steps_between(track: bytes, from_ms: int, to_ms: int) -> Iterator[tuple[TrackedFix | None, TrackedFix]]:
    """Each fix in [``from_ms``, ``to_ms``) with the fix before it, None for the first of the track."""
    index, end = count_before(track, from_ms), count_before(track, to_ms)
    before = fix_at(track, index - 1) if index else None
    for at in range(index, end):
        fix = fix_at(track, at)
        yield before, fix
        before = fix


def with_inserted(track: bytes, fix: TrackedFix) -> bytes:
    """The track with a fix that is not the newest slot's first yet; the same if its slot has an earlier one."""
    slot = fix.t_ms // SLOT_MS
    index = after = count_before(track, slot * SLOT_MS)
    if index < len(track) // FIX_BYTES:
        there = fix_at(track, index)
        if there.t_ms // SLOT_MS == slot:
            if there <= fix:
                return track
            after = index + 1
    return track[: index * FIX_BYTES] + packed(*fix) + track[after * FIX_BYTES :]


def trimmed(track: bytes, first_ms: int) -> bytes:
    """The track from the latest fix that is older than ``first_ms``: the step from it is still needed."""
    index = count_before(track, first_ms)
    return track[(index - 1) * FIX_BYTES :] if index > 1 else track
