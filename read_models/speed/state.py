"""Encodes the state of a rider's read model: the speed window, the pace and the open legs."""

from __future__ import annotations

import math
import struct

from domain.features.legs import LEGS, OpenLeg, OpenLegs
from domain.features.movement import PathFix
from domain.features.pace import PaceState
from domain.features.speed.window import SpeedState, WindowPing

_FORMAT = 3
_FORMAT_OF_FOLD_2 = 2
_HEAD = struct.Struct(">BqqqqIBB?qiiqqqq")
_HEAD_OF_FOLD_2 = struct.Struct(">BqqqqB")
_PING = struct.Struct(">q16sddffq")
_LEG = struct.Struct(">ddqBH")
_LEG_BYTE = {leg: byte for byte, leg in enumerate(LEGS)}
_NO_FIX = PathFix(0, 0, 0)


class UnreadableSpeedState(Exception):
    """The bytes were not written by this version of the read model."""


def encode(state: SpeedState) -> bytes:
    """A head of 88 bytes, 56 bytes per ping, and per leg 27 and its order id in UTF-8, all big-endian.

    Equal states give equal bytes (invariant 8). An unknown accuracy or speed is stored as NaN, which no accepted ping
    has.
    """
    version, position, pings, too_late, window, pace, legs, legs_not_kept = state
    last, ms, mm, before_ms, before_mm = pace
    parts = [
        _HEAD.pack(
            _FORMAT,
            version,
            position,
            pings,
            too_late,
            legs_not_kept,
            len(window),
            len(legs),
            last is not None,
            *(last or _NO_FIX),
            ms,
            mm,
            before_ms,
            before_mm,
        )
    ]
    pack, fromhex, unknown = _PING.pack, bytes.fromhex, math.nan  # this runs for every ping
    parts += [
        pack(t, fromhex(event_id), lat, lon, unknown if acc is None else acc, unknown if mps is None else mps, ahead)
        for t, event_id, lat, lon, acc, mps, ahead in window
    ]
    for order_id, leg, latitude, longitude, started_ms in legs:
        order = order_id.encode()
        parts += (_LEG.pack(latitude, longitude, started_ms, _LEG_BYTE[leg], len(order)), order)
    return b"".join(parts)


def decode(data: bytes) -> SpeedState:
    """The state that ``encode`` was given. Raises UnreadableSpeedState.

    Reads what fold version 2 stored too, without a pace and legs: its generation is served until a rebuild has switched
    to one of this version (invariant 9).
    """
    if data[:1] == bytes([_FORMAT_OF_FOLD_2]):
        return _state_of_fold_2(data)
    if len(data) < _HEAD.size or data[0] != _FORMAT:
        raise UnreadableSpeedState(f"{len(data)} bytes that are no speed state of format {_FORMAT}")
    head = _HEAD.unpack_from(data)
    _, version, position, pings, too_late, legs_not_kept, count, leg_count, has_fix, t_ms, *rest = head
    latitude_e7, longitude_e7, *sums = rest
    end = _HEAD.size + count * _PING.size
    window = _window(data, _HEAD.size, end)
    pace = PaceState(PathFix(t_ms, latitude_e7, longitude_e7) if has_fix else None, *sums)
    legs = _legs(data, end, leg_count)
    return SpeedState(version, position, pings, too_late, window, pace, legs, legs_not_kept)


def _state_of_fold_2(data: bytes) -> SpeedState:
    if len(data) < _HEAD_OF_FOLD_2.size:
        raise UnreadableSpeedState(f"{len(data)} bytes that are no speed state of format {_FORMAT_OF_FOLD_2}")
    _, version, position, pings, too_late, count = _HEAD_OF_FOLD_2.unpack_from(data)
    end = _HEAD_OF_FOLD_2.size + count * _PING.size
    if len(data) > end:
        raise UnreadableSpeedState(f"a speed state of {count} pings cannot have {len(data)} bytes")
    return SpeedState(version, position, pings, too_late, _window(data, _HEAD_OF_FOLD_2.size, end))


def _window(data: bytes, start: int, end: int) -> tuple[WindowPing, ...]:
    """The pings in ``data[start:end]``. Raises UnreadableSpeedState."""
    if len(data) < end:
        raise UnreadableSpeedState(f"a speed state whose pings end at byte {end} cannot have {len(data)} bytes")
    return tuple([_ping(*fields) for fields in _PING.iter_unpack(data[start:end])])


def _ping(
    t_ms: int, event_id: bytes, latitude: float, longitude: float, accuracy: float, speed: float, ahead_ms: int
) -> WindowPing:
    return WindowPing(
        t_ms,
        event_id.hex(),
        latitude,
        longitude,
        None if math.isnan(accuracy) else accuracy,
        None if math.isnan(speed) else speed,
        ahead_ms,
    )


def _legs(data: bytes, at: int, count: int) -> OpenLegs:
    """The ``count`` legs from offset ``at`` to the end. Raises UnreadableSpeedState."""
    legs: list[OpenLeg] = []
    try:
        for _ in range(count):
            latitude, longitude, started_ms, leg, length = _LEG.unpack_from(data, at)
            start, at = at + _LEG.size, at + _LEG.size + length
            legs.append(OpenLeg(data[start:at].decode(), LEGS[leg], latitude, longitude, started_ms))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise UnreadableSpeedState(f"{len(data)} bytes that are no speed state with {count} legs: {error}") from error
    if at != len(data):
        raise UnreadableSpeedState(f"a speed state of {count} legs has {len(data) - at} bytes too many or too few")
    return tuple(legs)
