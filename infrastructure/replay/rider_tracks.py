"""A rider's latest pings as of an instant, each with the speed that was served after it. Blocks; safe to share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine

from domain.events.contracts import UndecodableError
from domain.features.speed.estimate import robust_speed_mps
from domain.features.speed.path import path_speed_mps
from domain.features.speed.window import SpeedState, WindowPing
from infrastructure.replay.key_reads import KeyReplayReader
from infrastructure.replay.past_reads import PastReads
from infrastructure.replay.remembered import Remembered
from projections.core.fold import Decode
from projections.replay.as_of import AsOf, Horizon
from projections.replay.latest_steps import LatestSteps
from projections.replay.remembered_parts import MAX_AGE_S, KeyParts, KeyStep, RememberedParts
from projections.replay.source import ReplaySource
from projections.speed import SPEED

log = logging.getLogger("ridelog.replay")

MAX_TRACK_EVENTS: Final = 2_000
MAX_WINDOWS: Final = 8_000
"""Windows whose speeds are remembered, for events that came late: at most 6 MB."""
MAX_RECORDS: Final = 8_000
"""Records of events that are remembered for windows and tracks of the past: at most 10 MB."""

Window = tuple[WindowPing, ...]


class RiderTrack(NamedTuple):
    """``points``: one for each ping, in the order of the log. ``horizon``: the part of the log that was read."""

    horizon: Horizon
    points: list[dict[str, Any]]


class WindowSpeeds(NamedTuple):
    """The robust estimate and the speed along the path, in m/s; None where the window does not tell."""

    robust_mps: float | None
    path_mps: float | None


class RiderTracks:
    """Folds the latest events of a rider. ``max_events``: that one answer may fold.

    What was folded for instants near an instant is not folded again, and the speeds of a window are estimated once:
    they are a function of the window alone.
    """

    def __init__(self, engine: Engine, decode: Decode, max_events: int) -> None:
        self._decode = decode
        self._reader = KeyReplayReader(engine, SPEED)
        self._parts: RememberedParts[SpeedState] = RememberedParts()
        self._max_events = max_events
        self._speeds = Remembered(_speeds_of, max_entries=MAX_WINDOWS, max_age_s=MAX_AGE_S)

    def state(self, rider_id: str, as_of: AsOf) -> PastReads[SpeedState]:
        """The rider's window, as ``PastKeys`` finds it. Raises Unresolvable, TooLong, PortUnavailable."""
        with self._latest(rider_id, as_of, 1) as (latest, horizon, _):
            return PastReads(horizon, latest.at(rider_id, horizon))

    def at(self, rider_id: str, as_of: AsOf, events: int) -> RiderTrack:
        """The pings among the rider's last ``events`` events, without those that cannot be decoded.

        Raises Unresolvable, TooLong, PortUnavailable.
        """
        with self._latest(rider_id, as_of, events) as (latest, horizon, parts):
            steps = latest.of(rider_id, horizon)
        points = (parts.of_step(step, self._point) for step in steps)
        return RiderTrack(horizon, [point for point in points if point is not None])

    @contextmanager
    def _latest(
        self, rider_id: str, as_of: AsOf, most: int
    ) -> Iterator[tuple[LatestSteps[SpeedState], Horizon, KeyParts[SpeedState]]]:
        remembered = self._parts.of(rider_id)
        with self._reader.opened(rider_id, as_of, remembered.ends()) as reads:
            horizon = reads.horizon
            last = reads.archive.last_version(SPEED.stream, rider_id, horizon.position)
            parts = remembered.confirmed(horizon.log_id, reads.discarded, last, has_ends=reads.has_known)
            source = ReplaySource(SPEED, reads.archive, self._decode)
            latest = LatestSteps(source, reads.snapshots, most, max_events=self._max_events, parts=parts)
            yield latest, horizon, parts

    def _point(self, step: KeyStep[SpeedState]) -> dict[str, Any] | None:
        """None for what is no ping of a track."""
        event, state = step
        if event.event_type != "GpsPing" or state is None:
            return None
        try:
            ping = self._decode(event.payload)
        except UndecodableError as error:
            # Invariant 10: one bad event takes no other ping off the track.
            log.warning("the ping at position %d is not on its rider's track: %s", event.position, error)
            return None
        return _point(event.position, ping, self._speeds(state.window))


def _speeds_of(window: Window) -> WindowSpeeds:
    return WindowSpeeds(robust_speed_mps(window), path_speed_mps(window))


def _point(position: int, ping: Mapping[str, Any], speeds: WindowSpeeds) -> dict[str, Any]:
    return {
        "position": position,
        "event_id": ping["event_id"],
        "event_timestamp_ms": ping["event_timestamp_ms"],
        "received_timestamp_ms": ping["received_timestamp_ms"] or None,
        "latitude": ping["latitude"],
        "longitude": ping["longitude"],
        "accuracy_meters": ping["accuracy_meters"],
        "device_speed_mps": ping["speed_mps"],
        "speed_mps": speeds.robust_mps,
        "path_speed_mps": speeds.path_mps,
    }
