"""A rider's latest pings as of an instant, each with the speed that was served after it. Blocks; safe to share."""

from __future__ import annotations

import logging
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine

from domain.events.contracts import UndecodableError
from domain.features.speed.estimate import robust_speed_mps
from domain.features.speed.path import path_speed_mps
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from projections.core.fold import Decode
from projections.replay.as_of import AsOf, Horizon
from projections.replay.event_axis import HappenedEvents
from projections.replay.key_replay import KeyReplay
from projections.replay.source import ReplaySource
from projections.speed import SPEED

log = logging.getLogger("ridelog.replay")

MAX_TRACK_EVENTS: Final = 2_000
_STREAM: Final = SPEED.stream


class RiderTrack(NamedTuple):
    """``points``: one for each ping, in the order of the log. ``horizon``: the part of the log that was read."""

    horizon: Horizon
    points: list[dict[str, Any]]


class RiderTracks:
    """Folds the latest events of a rider one by one. ``max_events``: that one answer may fold."""

    def __init__(self, engine: Engine, decode: Decode, max_events: int) -> None:
        self._archive = PostgresArchive(engine)
        self._decode = decode
        snapshots = PostgresStateSnapshots(engine, SPEED)
        source = ReplaySource(SPEED, self._archive, decode)
        self._replay = KeyReplay(source, snapshots, max_events=max_events)

    def at(self, rider_id: str, as_of: AsOf, events: int) -> RiderTrack:
        """The pings among the rider's last ``events`` events, without those that cannot be decoded.

        Raises Unresolvable, TooLong, PortUnavailable.
        """
        horizon = self._archive.horizon(as_of)
        last = self._last_version(rider_id, horizon)
        first = max(0, last - events)
        points: list[dict[str, Any]] = []
        if not last:
            return RiderTrack(horizon, points)
        run = self._replay.run_from(rider_id, first, horizon)
        happened = HappenedEvents(self._archive, self._decode)
        for event in happened.key_range(_STREAM, rider_id, first, last, horizon.happened_by_ms):
            run.fold([event])
            if event.event_type != "GpsPing" or run.state is None:
                continue
            try:
                ping = happened.decode(event.payload)
            except UndecodableError as error:
                # Invariant 10: one bad event takes no other ping off the track.
                log.warning("the ping at position %d is not on its rider's track: %s", event.position, error)
                continue
            points.append(
                {
                    "position": event.position,
                    "event_id": ping["event_id"],
                    "event_timestamp_ms": ping["event_timestamp_ms"],
                    "received_timestamp_ms": ping["received_timestamp_ms"] or None,
                    "latitude": ping["latitude"],
                    "longitude": ping["longitude"],
                    "accuracy_meters": ping["accuracy_meters"],
                    "device_speed_mps": ping["speed_mps"],
                    "speed_mps": robust_speed_mps(run.state.window),
                    "path_speed_mps": path_speed_mps(run.state.window),
                }
            )
        return RiderTrack(horizon, points)

    def _last_version(self, rider_id: str, horizon: Horizon) -> int:
        """The version of the rider's last event that counts; 0 if there is none."""
        last = self._archive.last_version(_STREAM, rider_id, horizon.position)
        if horizon.happened_by_ms is None or not last:
            return last
        # The last version of the log may be of hours after the instant: no event before it would be within reach.
        found = self._replay.at(rider_id, horizon)
        return 0 if found is None or found.state is None else found.state.version
