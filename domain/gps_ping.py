"""A GPS ping as a value: the rules for recording one, and when two pings are the same."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from domain.errors import InvalidAccuracy, InvalidCoordinates, InvalidType, NullIsland
from domain.event_times import FUTURE_TOLERANCE_MS, OLDEST_MS, SHORTEST_ROLLOVER_MS, check_event_time
from domain.identifiers import check_rider_id, derive_event_id, is_event_id
from domain.json_fields import json_type, number, wrong_type
from domain.timestamps import json_integer, rfc3339_ms

MAX_SOURCE_CODE_POINTS = 128

_FLOAT32 = struct.Struct("<f")
_FLOAT32_MAX = 3.4028234663852886e38


class GpsPing(NamedTuple):
    """One fix of one phone, valid by construction through ``parse_ping``.

    Coordinates in WGS84 degrees, times in epoch milliseconds, accuracy a 68 % radius in metres, speed in m/s as the
    device reported it (None = unknown). Accuracy and speed hold 32-bit floats, as the contract stores them.
    ``is_mock``: whether the phone says that an app made the fix (Android's Location.isMock); None = it does not say.
    """

    rider_id: str
    latitude: float
    longitude: float
    event_timestamp_ms: int
    accuracy_meters: float | None
    speed_mps: float | None
    event_id: str
    received_timestamp_ms: int
    source_service: str
    is_mock: bool | None = None

    @property
    def identity(self) -> tuple[str, int, str]:
        return (self.rider_id, self.event_timestamp_ms, self.event_id)

    def same_content(self, other: GpsPing) -> bool:
        """Whether a repeat has the content of the first. Reception time and source service are not content."""
        return self[:7] == other[:7] and self.is_mock == other.is_mock


def parse_ping(item: object, received_ms: int) -> GpsPing:
    """A ping from one decoded JSON value, received at ``received_ms``; unknown fields are ignored.

    Raises one of the PingRejected errors; the first rule that is broken names the code.
    """
    if type(item) is not dict:
        raise InvalidType(f"a ping must be an object, not {json_type(item)}")
    rider_id = item.get("rider_id")
    if type(rider_id) is not str:
        raise wrong_type(item, "rider_id", "a string")
    check_rider_id(rider_id)
    latitude = number(item, "latitude")
    longitude = number(item, "longitude")
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        raise InvalidCoordinates("latitude must be within ±90 and longitude within ±180 degrees, both finite")
    event_ms = _event_time(item)
    if latitude == 0.0 and longitude == 0.0:
        raise NullIsland("0° N 0° E is what a phone without a fix reports")
    # Almost every ping costs these comparisons only.
    if event_ms < OLDEST_MS or not -FUTURE_TOLERANCE_MS <= received_ms - event_ms <= SHORTEST_ROLLOVER_MS:
        check_event_time("event_timestamp_ms", event_ms, received_ms)
    return GpsPing(
        rider_id,
        latitude,
        longitude,
        event_ms,
        _accuracy(item),
        _speed(item),
        _event_id(item) or derive_event_id(rider_id, event_ms, latitude, longitude),
        received_ms,
        _source(item),
        _is_mock(item),
    )


def ping_of(data: Mapping[str, Any]) -> GpsPing:
    """The ping that a decoded GpsPing record (current contract) carries."""
    return GpsPing(
        data["rider_id"],
        data["latitude"],
        data["longitude"],
        data["event_timestamp_ms"],
        data["accuracy_meters"],
        data["speed_mps"],
        data["event_id"],
        data["received_timestamp_ms"],
        data["source_service"],
        data["is_mock"],
    )


def record_of(ping: GpsPing) -> dict[str, Any]:
    """``ping`` as a record of the current contract; spelled out, since ``_asdict`` costs as much as its encoding."""
    return {
        "rider_id": ping.rider_id,
        "latitude": ping.latitude,
        "longitude": ping.longitude,
        "event_timestamp_ms": ping.event_timestamp_ms,
        "accuracy_meters": ping.accuracy_meters,
        "speed_mps": ping.speed_mps,
        "schema_version": 3,
        "event_id": ping.event_id,
        "received_timestamp_ms": ping.received_timestamp_ms,
        "source_service": ping.source_service,
        "is_mock": ping.is_mock,
    }


def _event_time(item: dict[str, Any]) -> int:
    value = item.get("event_timestamp_ms")
    if type(value) is int:
        return value
    if type(value) is str:
        try:
            return rfc3339_ms(value)
        except ValueError as error:
            raise InvalidType(f"event_timestamp_ms must be an integer or an RFC 3339 time: {error}") from error
    ms = json_integer(value)
    if ms is None:
        raise wrong_type(item, "event_timestamp_ms", "an integer (epoch milliseconds) or an RFC 3339 time with zone")
    return ms


def _accuracy(item: dict[str, Any]) -> float | None:
    if item.get("accuracy_meters") is None:
        return None
    value = number(item, "accuracy_meters")
    if not 0.0 <= value <= _FLOAT32_MAX:
        raise InvalidAccuracy("accuracy_meters must be finite and not negative")
    return _to_float32(value)


def _speed(item: dict[str, Any]) -> float | None:
    if item.get("speed_mps") is None:
        return None
    value = number(item, "speed_mps")
    # A negative device speed means unknown, and so does one that is not a finite 32-bit number.
    return _to_float32(value) if 0.0 <= value <= _FLOAT32_MAX else None


def _to_float32(value: float) -> float:
    return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])


def _event_id(item: dict[str, Any]) -> str | None:
    value = item.get("event_id")
    if value is None:
        return None
    if type(value) is str and is_event_id(value):
        return value.lower()
    raise InvalidType("event_id must be a UUID such as 0b7e9d1c-3f6a-4f0e-8f65-2b1f9a8d7c6e")


def _source(item: dict[str, Any]) -> str:
    value = item.get("source_service")
    if value is None:
        return "unknown"
    if type(value) is not str or not value.isprintable() or len(value) > MAX_SOURCE_CODE_POINTS:
        raise InvalidType(f"source_service must be a printable string of at most {MAX_SOURCE_CODE_POINTS} characters")
    return value


def _is_mock(item: dict[str, Any]) -> bool | None:
    value = item.get("is_mock")
    if value is None or type(value) is bool:
        return value
    raise wrong_type(item, "is_mock", "true, false or null")
