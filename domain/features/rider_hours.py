"""The fold of a rider's hours and minutes: each event changes sums exactly, even if it comes late.

The state has the rider's 10 latest fixes in order, and the maxima of the steps between them that a late fix may still
change. Sums are not in it: each event says what it adds to which hour and minute (``RiderHours.hours`` and
``.minutes``). An event that falls between two fixes subtracts what the step between them had added. So the sums are
those of the sorted track, whatever the order of arrival within the window.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from domain.features.event_time import effective_time_ms
from domain.features.geo import haversine_mm
from domain.features.keyed_event import KeyedEvent

KEPT = 10
"""Number of fixes in the window. A fix that comes when so many later ones are known is too late."""

FASTEST_MM_PER_MS = 60
"""Above 60 m/s (216 km/h) a step is not a movement of a rider, but a jump to or from a wrong fix."""

SLOWEST_MM_PER_S = 500
"""Below 0.5 m/s a step is a phone at rest, with its noise."""

LONGEST_MOVE_MS = 300_000
"""A rider without pings for five minutes may have stood still: the distance counts, the time is not moving time."""


class TrackFix(NamedTuple):
    """One accepted fix; ordered by ``order``. ``mm`` is the distance from the fix before it, 0 for the first.

    ``t_ms`` is its effective time. ``ahead_ms`` is how much later the time as sent is: 0 unless the clock is ahead.
    ``event_id`` is the UUID's 16 bytes, which sort as the UUID does; degrees WGS84.
    """

    t_ms: int
    event_id: bytes
    latitude: float
    longitude: float
    mm: int
    ahead_ms: int = 0

    @property
    def order(self) -> tuple[int, int, bytes]:
        """By effective time; fixes with the same reception by the time as sent."""
        return self.t_ms, self.ahead_ms, self.event_id


class MovementStep(NamedTuple):
    """What one step adds, at the time of its later fix. All integers, so sums do not depend on their order."""

    impossible: int
    distance_mm: int
    moving_mm: int
    moving_ms: int
    speed_mm_s: int
    """0 unless it is movement."""
    silence_ms: int


NO_STEP = MovementStep(0, 0, 0, 0, 0, 0)


def step(mm: int, ms: int) -> MovementStep:
    """The step of ``mm`` whole millimetres in ``ms`` milliseconds. Two fixes of one instant make no step."""
    if ms == 0:
        return NO_STEP
    if mm > FASTEST_MM_PER_MS * ms:
        return MovementStep(1, 0, 0, 0, 0, ms)
    if ms <= LONGEST_MOVE_MS and mm * 1_000 >= SLOWEST_MM_PER_S * ms:
        return MovementStep(0, mm, mm, ms, mm * 1_000 // ms, ms)
    return MovementStep(0, mm, 0, 0, 0, ms)


def way_mm(a: TrackFix, b: TrackFix) -> int:
    return haversine_mm(a.latitude, a.longitude, b.latitude, b.longitude)


HOUR_MS = 3_600_000
MINUTE_MS = 60_000
WORST_ACCURACY_M = 50.0
"""A fix that is less accurate is not used for distances (the limit that Namma Yatri uses)."""

_LATE_MS = (60_000, 300_000, 900_000, 3_600_000)


class HourChange(NamedTuple):
    """``add``: pings, rejected_fixes, too_late, late by 1, 5, 15 and 60 minutes, impossible_steps, distance_mm,
    moving_mm, moving_ms. ``latest``: speed_max_mm_s and longest_silence_ms of the hour, None if not changed."""

    hour: int
    add: tuple[int, ...]
    latest: tuple[int, int] | None


class MinuteChange(NamedTuple):
    """``add``: riders, pings, rejected_fixes, too_late, impossible_steps, distance_mm, moving_mm, moving_ms."""

    minute: int
    add: tuple[int, ...]


class Maxima(NamedTuple):
    """The fastest movement and the longest silence of one hour (epoch hours)."""

    hour: int
    speed_mm_s: int
    silence_ms: int


class RiderHours(NamedTuple):
    """The state of one rider.

    ``window`` has the latest fixes, sorted. ``settled`` has the maxima of the hour of the window's first fix, over the
    steps that no late fix can change any more. ``newest`` has the maxima of the newest hour over all its steps.
    ``hours`` and ``minutes`` are what the last event changed; they are not stored.
    """

    version: int
    position: int
    window: tuple[TrackFix, ...] = ()
    settled: Maxima = Maxima(0, 0, 0)
    newest: Maxima = Maxima(0, 0, 0)
    hours: tuple[HourChange, ...] = ()
    minutes: tuple[MinuteChange, ...] = ()


EMPTY = RiderHours(0, 0)


def fold(state: RiderHours, event: KeyedEvent) -> RiderHours:
    """The state after one more event of the rider's stream; pure."""
    if event.event_type != "GpsPing":
        return state._replace(version=event.version, position=event.position, hours=(), minutes=())
    data = event.data
    window, t_ms = state.window, effective_time_ms(data)
    accuracy = data["accuracy_meters"]
    if accuracy is not None and accuracy > WORST_ACCURACY_M:
        return _counted(state, event, t_ms, rejected=1, too_late=0)
    event_id = bytes.fromhex(data["event_id"].replace("-", ""))
    fix = TrackFix(t_ms, event_id, data["latitude"], data["longitude"], 0, data["event_timestamp_ms"] - t_ms)
    if not window or fix.order > window[-1].order:
        return _appended(state, event, fix)
    if len(window) == KEPT and fix.order < window[0].order:
        return _counted(state, event, t_ms, rejected=0, too_late=1)
    return _inserted(state, event, fix)


def _counted(state: RiderHours, event: KeyedEvent, t_ms: int, *, rejected: int, too_late: int) -> RiderHours:
    """A ping that is counted and not used for distances."""
    hour = HourChange(t_ms // HOUR_MS, (1, rejected, too_late, *_lateness(event.data), 0, 0, 0, 0), None)
    minute = MinuteChange(t_ms // MINUTE_MS, (0, 1, rejected, too_late, 0, 0, 0, 0))
    return state._replace(version=event.version, position=event.position, hours=(hour,), minutes=(minute,))


def _appended(state: RiderHours, event: KeyedEvent, fix: TrackFix) -> RiderHours:
    """The usual case: a fix later than all others."""
    window, t_ms = state.window, fix.t_ms
    hour, minute = t_ms // HOUR_MS, t_ms // MINUTE_MS
    seen, mm, made = 1, 0, NO_STEP
    if window:
        last = window[-1]
        mm = haversine_mm(last.latitude, last.longitude, fix.latitude, fix.longitude)
        made = step(mm, t_ms - last.t_ms)
        seen = int(last.t_ms // MINUTE_MS != minute)
    newest = _higher(state.newest if state.newest.hour == hour else Maxima(hour, 0, 0), made)
    kept, settled = _trimmed((*window, TrackFix(*fix[:4], mm, fix.ahead_ms)), state.settled)
    sums = made[:4]
    return RiderHours(
        event.version,
        event.position,
        kept,
        settled,
        newest,
        (HourChange(hour, (1, 0, 0, *_lateness(event.data), *sums), newest[1:]),),
        (MinuteChange(minute, (seen, 1, 0, 0, *sums)),),
    )


def _inserted(state: RiderHours, event: KeyedEvent, fix: TrackFix) -> RiderHours:
    """A fix before others in the window: the step that it splits is subtracted, the two new steps are added."""
    window = state.window
    at = sum(kept.order < fix.order for kept in window)
    after = window[at]
    if after.order == fix.order:
        return _counted(state, event, fix.t_ms, rejected=0, too_late=0)
    before = window[at - 1] if at else None
    into, old = NO_STEP, NO_STEP
    if before is not None:
        fix = fix._replace(mm=way_mm(before, fix))
        into = step(fix.mm, fix.t_ms - before.t_ms)
        old = step(after.mm, after.t_ms - before.t_ms)
    after = after._replace(mm=way_mm(fix, after))
    onward = step(after.mm, after.t_ms - fix.t_ms)
    minute = fix.t_ms // MINUTE_MS
    seen = int(after.t_ms // MINUTE_MS != minute and (before is None or before.t_ms // MINUTE_MS != minute))
    kept, settled = _trimmed((*window[:at], fix, after, *window[at + 1 :]), state.settled)
    corrected = tuple(new - was for new, was in zip(onward[:4], old[:4], strict=True))
    maxima = {hour: _maxima(hour, kept, settled) for hour in {fix.t_ms // HOUR_MS, after.t_ms // HOUR_MS}}
    newest = maxima.get(state.newest.hour, state.newest)
    hour, later = maxima[fix.t_ms // HOUR_MS], maxima[after.t_ms // HOUR_MS]
    return RiderHours(
        event.version,
        event.position,
        kept,
        settled,
        newest,
        (
            HourChange(hour.hour, (1, 0, 0, *_lateness(event.data), *into[:4]), hour[1:]),
            HourChange(later.hour, (0, 0, 0, 0, 0, 0, 0, *corrected), later[1:]),
        ),
        (
            MinuteChange(minute, (seen, 1, 0, 0, *into[:4])),
            MinuteChange(after.t_ms // MINUTE_MS, (0, 0, 0, 0, *corrected)),
        ),
    )


def _trimmed(window: tuple[TrackFix, ...], settled: Maxima) -> tuple[tuple[TrackFix, ...], Maxima]:
    """Drop the oldest fix if the window is too long. The step after it can no longer change, and is settled."""
    if len(window) <= KEPT:
        return window, settled
    first, second = window[0], window[1]
    left = step(second.mm, second.t_ms - first.t_ms)
    hour = second.t_ms // HOUR_MS
    # An hour before the window's first fix is complete: only fixes that are too late could belong to it.
    return window[1:], _higher(settled if settled.hour == hour else Maxima(hour, 0, 0), left)


def _maxima(hour: int, window: tuple[TrackFix, ...], settled: Maxima) -> Maxima:
    """The maxima over all steps of one hour that the window reaches into."""
    found = settled if settled.hour == hour else Maxima(hour, 0, 0)
    for a, b in pairwise(window):
        if b.t_ms // HOUR_MS == hour:
            found = _higher(found, step(b.mm, b.t_ms - a.t_ms))
    return found


def _higher(maxima: Maxima, made: MovementStep) -> Maxima:
    if made.speed_mm_s <= maxima.speed_mm_s and made.silence_ms <= maxima.silence_ms:
        return maxima
    return Maxima(maxima.hour, max(maxima.speed_mm_s, made.speed_mm_s), max(maxima.silence_ms, made.silence_ms))


def _lateness(data: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """One-hot: received at least 1, 5, 15 or 60 minutes after the event; all 0 if less, or if it is unknown."""
    received = data["received_timestamp_ms"]
    late = received - data["event_timestamp_ms"] if received else 0
    if late < _LATE_MS[0]:
        return 0, 0, 0, 0
    return (
        int(late < _LATE_MS[1]),
        int(_LATE_MS[1] <= late < _LATE_MS[2]),
        int(_LATE_MS[2] <= late < _LATE_MS[3]),
        int(late >= _LATE_MS[3]),
    )
