"""The location read model: the stored bytes of a rider's state, and the record published from it."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from domain.features.latest_location import LocationFix, LocationState

NAME = "locations"
TOPIC = "rider-locations"
RECORD = "RiderLocation"

_FORMAT = 2
_HEAD = struct.Struct(">Bqq")
_FIX = struct.Struct(">q16sddfq")
_PLACE = struct.Struct(">Bqqq16xdd12x")
"""Head and fix without what a map does not show."""


class UnreadableLocationState(Exception):
    """The bytes were not written by this version of the read model."""


def encode(state: LocationState) -> bytes:
    """A head of 17 bytes and 52 bytes for the latest ping, big-endian; equal states give equal bytes (invariant 8).

    An unknown accuracy is stored as NaN, which no accepted ping has.
    """
    head = _HEAD.pack(_FORMAT, state.version, state.position)
    fix = state.latest
    if fix is None:
        return head
    accuracy = math.nan if fix.accuracy_m is None else fix.accuracy_m
    return head + _FIX.pack(fix.t_ms, bytes.fromhex(fix.event_id), fix.latitude, fix.longitude, accuracy, fix.ahead_ms)


def decode(data: bytes) -> LocationState:
    """The state that ``encode`` was given. Raises UnreadableLocationState."""
    if len(data) not in {_HEAD.size, _HEAD.size + _FIX.size} or data[0] != _FORMAT:
        raise UnreadableLocationState(f"{len(data)} bytes that are no location of format {_FORMAT}")
    _, version, position = _HEAD.unpack_from(data)
    if len(data) == _HEAD.size:
        return LocationState(version, position, None)
    t_ms, event_id, latitude, longitude, accuracy, ahead_ms = _FIX.unpack_from(data, _HEAD.size)
    return LocationState(
        version,
        position,
        LocationFix(t_ms, event_id.hex(), latitude, longitude, None if math.isnan(accuracy) else accuracy, ahead_ms),
    )


def decode_place(data: bytes) -> tuple[int, int, float, float] | None:
    """Position, effective time in epoch ms, latitude and longitude, as ``decode`` gives them, in a third of the time.

    None before the first ping. Raises UnreadableLocationState.
    """
    if len(data) == _PLACE.size and data[0] == _FORMAT:
        _, _, position, t_ms, latitude, longitude = _PLACE.unpack(data)
        return position, t_ms, latitude, longitude
    fix = decode(data).latest
    assert fix is None, "the other length has no ping"
    return None


def values(key: str, state: LocationState) -> Mapping[str, Any] | None:
    """The rider's ``RiderLocation`` record; None before the first ping."""
    fix = state.latest
    if fix is None:
        return None
    hex_digits = fix.event_id
    return {
        "rider_id": key,
        "latitude": fix.latitude,
        "longitude": fix.longitude,
        "event_timestamp_ms": fix.t_ms,
        "event_id": "-".join((hex_digits[:8], hex_digits[8:12], hex_digits[12:16], hex_digits[16:20], hex_digits[20:])),
        "accuracy_meters": fix.accuracy_m,
        "version": state.version,
        "position": state.position,
    }
