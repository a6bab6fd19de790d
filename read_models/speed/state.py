"""Encodes the state of a rider's speed window."""

from __future__ import annotations

import math
import struct

from domain.features.speed.window import SpeedState, WindowPing

_FORMAT = 2
_HEAD = struct.Struct(">BqqqqB")
_PING = struct.Struct(">q16sddffq")


class UnreadableSpeedState(Exception):
    """The bytes were not written by this version of the read model."""


def encode(state: SpeedState) -> bytes:
    """A head of 34 bytes and 56 bytes per ping, big-endian; equal states give equal bytes (invariant 8).

    An unknown accuracy or speed is stored as NaN, which no accepted ping has.
    """
    parts = [_HEAD.pack(_FORMAT, state.version, state.position, state.pings, state.too_late, len(state.window))]
    parts += [
        _PING.pack(
            ping.t_ms,
            bytes.fromhex(ping.event_id),
            ping.latitude,
            ping.longitude,
            math.nan if ping.accuracy_m is None else ping.accuracy_m,
            math.nan if ping.speed_mps is None else ping.speed_mps,
            ping.ahead_ms,
        )
        for ping in state.window
    ]
    return b"".join(parts)


def decode(data: bytes) -> SpeedState:
    """The state that ``encode`` was given. Raises UnreadableSpeedState."""
    if len(data) < _HEAD.size or data[0] != _FORMAT:
        raise UnreadableSpeedState(f"{len(data)} bytes that are no speed state of format {_FORMAT}")
    _, version, position, pings, too_late, count = _HEAD.unpack_from(data)
    if len(data) != _HEAD.size + count * _PING.size:
        raise UnreadableSpeedState(f"a speed state of {count} pings cannot have {len(data)} bytes")
    window = tuple(_ping(*fields) for fields in _PING.iter_unpack(data[_HEAD.size :]))
    return SpeedState(version, position, pings, too_late, window)


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
