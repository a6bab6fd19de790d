"""The fixes that the detectors compare, and the window of pings that a case file shows."""

from __future__ import annotations

from binascii import a2b_hex
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import cos, hypot, isnan, nan
from struct import Struct
from typing import Any, Final, NamedTuple, cast

from domain.features.case_file import MAX_WINDOW_FIXES, CaseFix, uuid_text
from domain.features.event_time import MAX_CLOCK_SKEW_MS
from domain.features.geo import haversine_mm
from domain.features.tuples import new_tuple

DEGREES_E7 = 10_000_000
MM_PER_E7 = 11.119_508
"""Millimetres of 10⁻⁷ degrees of latitude, for the Earth's radius of ``domain.features.geo``."""
RADIANS_PER_E7 = 1.745_329_251_994_33e-9
FAR_MM = 20_000_000
"""Beyond 20 km the plane is no sphere any more: the distance is computed again on the great circle."""
HALF_TURN_E7 = 1_800_000_000

MIN_STEP_MS = 900
"""Of a second one fix is used. At ten fixes a second, noise of 0.5 m would count as 5 m/s."""

UNKNOWN_SPEED = -1

GOOD_ACCURACY_M = 50.0
GOOD_FACTOR, BAD_FACTOR = 3, 20
UNKNOWN_ERROR_MM = 50_000
"""How far off a fix may be. The accuracy is a 68 % radius. Up to 50 m, three times it hold 99.9 % of MobilityNet's
errors. Beyond, positions come from cells and access points with errors of 20 km at "1,127 m", eighteen times it. A
client that sends no accuracy is believed to 100 m."""

_WORST_ACCURACY_M = 1e6


class Fix(NamedTuple):
    """One ping as the detectors see it: effective time in epoch ms, WGS84 in 10⁻⁷ degrees, error bound in mm.

    ``speed_mm_s`` is the device's speed, UNKNOWN_SPEED if it sent none or 0: many Android phones send 0 for "unknown",
    half of the moving fixes of one of MobilityNet's.
    """

    t_ms: int
    latitude_e7: int
    longitude_e7: int
    error_mm: int
    speed_mm_s: int
    received_ms: int


NO_FIX = Fix(0, 0, 0, 0, UNKNOWN_SPEED, 0)


def fix_of(t_ms: int, data: Mapping[str, Any]) -> Fix:
    """The fix of a ping; ``t_ms`` is its effective time."""
    accuracy, speed = data["accuracy_meters"], data["speed_mps"]
    return new_tuple(
        Fix,
        (
            t_ms,
            round(data["latitude"] * 1e7),
            round(data["longitude"] * 1e7),
            # The usual case of ``_error_mm``, without its call.
            int(accuracy * 1_000.0) * GOOD_FACTOR
            if accuracy is not None and accuracy <= GOOD_ACCURACY_M
            else _error_mm(accuracy),
            int(speed * 1_000.0) if speed is not None and 0.0 < speed < 1e6 else UNKNOWN_SPEED,
            data["received_timestamp_ms"],
        ),
    )


def _error_mm(accuracy: float | None) -> int:
    if accuracy is None:
        return UNKNOWN_ERROR_MM
    if accuracy <= GOOD_ACCURACY_M:
        return int(accuracy * 1_000.0) * GOOD_FACTOR
    return int(min(accuracy, _WORST_ACCURACY_M) * 1_000.0) * BAD_FACTOR


def distance_mm(latitude1_e7: int, longitude1_e7: int, latitude2_e7: int, longitude2_e7: int) -> int:
    """Whole millimetres between two points: on the plane up to 20 km, where it is right to 1 in 1,000."""
    east = longitude2_e7 - longitude1_e7
    if not -HALF_TURN_E7 <= east <= HALF_TURN_E7:
        east -= 2 * HALF_TURN_E7 if east > 0 else -2 * HALF_TURN_E7
    mm = MM_PER_E7 * hypot(latitude2_e7 - latitude1_e7, east * cos(latitude2_e7 * RADIANS_PER_E7))
    if mm <= FAR_MM:
        return int(mm)
    return haversine_mm(
        latitude1_e7 / DEGREES_E7, longitude1_e7 / DEGREES_E7, latitude2_e7 / DEGREES_E7, longitude2_e7 / DEGREES_E7
    )


FASTEST_MM_PER_MS = 70
"""252 km/h. Riders ride bicycles, scooters and cars; a phone in a fast train is faster for longer than three fixes, but
one step of it is not: its fixes lie on a line, and each is within this of the one before it."""

STALE_MM_PER_MS = 30
"""A position repeated to the last bit may be one old fix that the phone sends again. Its rider may have moved all the
while, at up to 108 km/h."""

MEASURED_MM_S = 1_000
"""A device speed of motion: with another one than before, the fix is new even at the same position."""


def is_possible(a: Fix, b: Fix, mm: int, stale_ms: int = 0) -> bool:
    """Whether a rider can have been at both. The lower bound of the distance: both error bounds are taken off.

    The time is the longer one of what the phone's clock says and what the receptions say: a clock that is set back
    makes two fixes look near in time, and that is a signal of its own.
    """
    ms, received_ms = b[0] - a[0], b[5] - a[5]
    if received_ms > ms and a[5]:
        ms = received_ms
    return mm - a[3] - b[3] <= FASTEST_MM_PER_MS * ms + STALE_MM_PER_MS * stale_ms


def is_same_fix(a: Fix, b: Fix) -> bool:
    """Whether the later ``b`` may be the fix ``a``, sent again: then it has the same accuracy too."""
    is_measured = b[4] != a[4] and b[4] >= MEASURED_MM_S
    return a[1] == b[1] and a[2] == b[2] and a[3] == b[3] and not is_measured


# The window

WINDOW_STEP_MS = 4_000
"""32 fixes hold two minutes or more then. The first fixes after a jump are all kept."""

_WINDOW_FIX = Struct(">16sqqqddffb")
_MOCK_CODES = {None: -1, False: 0, True: 1}
_MOCKS = (False, True, None)
WINDOW_FIX_BYTES = _WINDOW_FIX.size
_MAX_BYTES = MAX_WINDOW_FIXES * WINDOW_FIX_BYTES
_EVENT_ID_BYTES = 16


def id_bytes(event_id: str) -> bytes:
    return bytes.fromhex(event_id.replace("-", ""))


def with_fix(window: bytes, position: int, data: Mapping[str, Any]) -> bytes:
    """The window after one more ping; its oldest fix leaves if it is full."""
    accuracy, speed = data["accuracy_meters"], data["speed_mps"]
    packed = _WINDOW_FIX.pack(
        a2b_hex(data["event_id"].replace("-", "")),
        data["event_timestamp_ms"],
        data["received_timestamp_ms"],
        position,
        data["latitude"] + 0.0,
        data["longitude"] + 0.0,
        nan if accuracy is None else accuracy,
        nan if speed is None else speed,
        _MOCK_CODES[data.get("is_mock")],
    )
    return window[WINDOW_FIX_BYTES:] + packed if len(window) >= _MAX_BYTES else window + packed


def window_of(window: bytes) -> list[CaseFix]:
    """The pings of the window, as they were recorded, in the order of the log."""
    return [
        CaseFix(
            uuid_text(event_id),
            sent_ms,
            received_ms,
            position,
            latitude,
            longitude,
            None if isnan(accuracy) else accuracy,
            None if isnan(speed) else speed,
            _MOCKS[mock],
        )
        for event_id, sent_ms, received_ms, position, latitude, longitude, accuracy, speed, mock in (
            _WINDOW_FIX.iter_unpack(window)
        )
    ]


PackedFix = tuple[bytes, int, int, int, float, float, float, float, int]
"""The values of one fix of the window: the arguments of a CaseFix, with NaN and codes for what is unknown."""

NO_PACKED_FIX: Final[PackedFix] = (bytes(_EVENT_ID_BYTES), 0, 0, 0, 0.0, 0.0, nan, nan, -1)


def packed_fixes(window: bytes) -> Iterator[PackedFix]:
    """The fixes of the window in the order of the log, some of which came late."""
    return cast("Iterator[PackedFix]", _WINDOW_FIX.iter_unpack(window))


def packed_at(window: bytes, index: int) -> PackedFix:
    return cast("PackedFix", _WINDOW_FIX.unpack_from(window, index * WINDOW_FIX_BYTES))


def unpacked_fix(packed: PackedFix) -> Fix:
    """The fix as the detectors compare it."""
    _, sent_ms, received_ms, _, latitude, longitude, accuracy, speed, _ = packed
    t_ms = received_ms if received_ms and sent_ms - received_ms > MAX_CLOCK_SKEW_MS else sent_ms
    if accuracy <= GOOD_ACCURACY_M:
        error_mm = int(accuracy * 1_000.0) * GOOD_FACTOR
    else:
        error_mm = _error_mm(None if isnan(accuracy) else accuracy)
    # NaN is no speed above 0 either.
    speed_mm_s = int(speed * 1_000.0) if 0.0 < speed < 1e6 else UNKNOWN_SPEED
    return Fix(t_ms, round(latitude * 1e7), round(longitude * 1e7), error_mm, speed_mm_s, received_ms)


def track_of(window: bytes) -> list[Fix]:
    """The fixes of the window in the order of time; those that came late are left out."""
    track: list[Fix] = []
    newest_ms = 0
    for packed in packed_fixes(window):
        fix = unpacked_fix(packed)
        if fix.t_ms > newest_ms:
            newest_ms = fix.t_ms
            track.append(fix)
    return track


def ways_mm(track: Sequence[Fix]) -> list[int]:
    """The distances between the fixes of a track, one less than those."""
    return [distance_mm(a[1], a[2], b[1], b[2]) for a, b in pairwise(track)]
