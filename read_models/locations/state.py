"""The location read model: the bytes that are kept for a rider, and the record that is published of them."""

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


class UnreadableLocationState(Exception):
    """Bytes that this version of the read model did not write."""


def encode(state: LocationState) -> bytes:
    """17 bytes of head and 52 of the latest ping, big-endian; equal states give equal bytes (invariant 8).

    An unknown accuracy is kept as NaN, which no accepted ping carries.
    """
    head = _HEAD.pack(_FORMAT, state.version, state.position)
    fix = state.latest
    if fix is None:
        return head
    accuracy = math.nan if fix.accuracy_m is None else fix.accuracy_m
    return head + _FIX.pack(fix.t_ms, bytes.fromhex(fix.event_id), fix.latitude, fix.longitude, accuracy, fix.ahead_ms)


def decode(data: bytes) -> LocationState:
    """The state that ``encode`` was given. Raises UnreadableState."""
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


def values(key: str, state: LocationState) -> Mapping[str, Any] | None:
    """The rider's record RiderLocation; None before the first ping."""
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
