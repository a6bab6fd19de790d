"""A rider's latest pings as of an instant, each with the speed that was served after it. Blocks; safe to share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine

from domain.events.contracts import UndecodableError
from domain.features.speed.estimate import robust_speed_mps
from domain.features.speed.path import path_speed_mps
from domain.features.speed.window import WindowPing
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from infrastructure.replay.remembered import Remembered
from projections.core.fold import Decode
from projections.replay.as_of import AsOf, Horizon
from projections.replay.latest_steps import LatestSteps
from projections.replay.source import ReplaySource
from projections.speed import SPEED

log = logging.getLogger("ridelog.replay")

MAX_TRACK_EVENTS: Final = 2_000
MAX_WINDOWS: Final = 20_000
"""Windows whose speeds are remembered: about a day of one rider, at most 15 MB."""
MAX_RECORDS: Final = 8_000
"""Records of events that are remembered for windows and tracks of the past: at most 10 MB."""
MAX_AGE_S: Final = 600.0
"""Windows and records have places of a person. They are remembered for as long as a person looks at a rider."""

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

    The speeds of a window are estimated once, while instants near each other are read: they are a function of the
    window alone. Where events were late, discarded or left out, the fold gives another window.
    """

    def __init__(self, engine: Engine, decode: Decode, max_events: int) -> None:
        self._archive = PostgresArchive(engine)
        self._decode = decode
        self._snapshots = PostgresStateSnapshots(engine, SPEED)
        self._max_events = max_events
        self._speeds = Remembered(_speeds_of, max_entries=MAX_WINDOWS, max_age_s=MAX_AGE_S)

    def at(self, rider_id: str, as_of: AsOf, events: int) -> RiderTrack:
        """The pings among the rider's last ``events`` events, without those that cannot be decoded.

        Raises Unresolvable, TooLong, PortUnavailable.
        """
        horizon = self._archive.horizon(as_of)
        source = ReplaySource(SPEED, self._archive, self._decode)
        latest = LatestSteps(source, self._snapshots, events, max_events=self._max_events)
        points: list[dict[str, Any]] = []
        for event, state in latest.of(rider_id, horizon):
            if event.event_type != "GpsPing" or state is None:
                continue
            try:
                ping = self._decode(event.payload)
            except UndecodableError as error:
                # Invariant 10: one bad event takes no other ping off the track.
                log.warning("the ping at position %d is not on its rider's track: %s", event.position, error)
                continue
            points.append(_point(event.position, ping, self._speeds(state.window)))
        return RiderTrack(horizon, points)


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
