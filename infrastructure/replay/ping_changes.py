"""What one ping changed: the rider's window and speed before and after it, by the fold that serves. Blocks."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Engine

from domain.events.contracts import UndecodableError
from domain.features.event_time import effective_time_ms
from domain.features.legs import OpenLeg
from domain.features.speed.window import SpeedState
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from projections.core.fold import Decode
from projections.replay.as_of import AsOf
from projections.replay.key_replay import KeyReplay
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from read_models.speed.view import explained, features

_STREAM = SPEED.stream


class FoldVerdict(StrEnum):
    """What the fold of the speed did with a ping; the values are answered and shown."""

    ACCEPTED = "accepted"
    """It is in the window, with a weight in the speed, or with none because its window gives no speed."""
    REJECTED = "rejected"
    """It is in the window, but the estimate does not use it; there is a reason."""
    TOO_LATE = "too_late"
    """The window was full of later pings when it came: it is counted, not used."""
    NOT_FOLDED = "not_folded"
    """The rider's key is parked at this event or an earlier one, or an operator discarded the event."""


class WindowThen(NamedTuple):
    """The window after an event: speeds in m/s, None if the window gives none, and its pings with their weights."""

    speed_mps: float | None
    path_speed_mps: float | None
    pings: list[dict[str, Any]]


class PingChange(NamedTuple):
    """The window before and after a ping; None before the first event, or where nothing could be folded.

    ``effective_ms``: the time by which folds order it (invariant 6), epoch milliseconds; ``lateness_ms``: reception
    less the time as sent, negative for a clock that is ahead, None for a ping without a reception. ``weight``: its
    share in the speed, 0 to 1. ``legs``: those of the rider that were open when it was folded.
    """

    effective_ms: int
    lateness_ms: int | None
    verdict: FoldVerdict
    reason: str | None
    weight: float
    before: WindowThen | None
    after: WindowThen | None
    legs: tuple[OpenLeg, ...]


class PingChanges:
    """Folds a rider up to a ping, from a state snapshot. Safe to share. ``max_events``: that one answer may fold."""

    def __init__(self, engine: Engine, decode: Decode, max_events: int) -> None:
        self._archive = PostgresArchive(engine)
        self._decode = decode
        source = ReplaySource(SPEED, self._archive, decode)
        self._replay = KeyReplay(source, PostgresStateSnapshots(engine, SPEED), max_events=max_events)

    def of(self, rider_id: str, version: int, position: int) -> PingChange | None:
        """The change by the rider's event of this version, at this position; None if it cannot be decoded.

        Raises Unresolvable, TooLong, PortUnavailable.
        """
        horizon = self._archive.horizon(AsOf.at_position(position))
        events = self._archive.key_range(_STREAM, rider_id, version - 1, version, None)
        if not events:
            return None
        try:
            ping = self._decode(events[0].payload)
        except UndecodableError:
            return None
        run = self._replay.run_from(rider_id, version - 1, horizon)
        before = run.state
        run.fold(events)
        after = run.state
        sent_ms, received_ms = ping["event_timestamp_ms"], ping["received_timestamp_ms"]
        lateness_ms = received_ms - sent_ms if received_ms else None
        effective_ms = effective_time_ms(ping)
        verdict, reason, weight = _verdict(before, after, effective_ms, ping["event_id"].replace("-", ""))
        if run.parked is not None or position in self._archive.discarded(SPEED.name):
            verdict, reason, weight = FoldVerdict.NOT_FOLDED, None, 0.0
        legs = () if after is None else after.legs
        shown = _shown(before), _shown(after)
        return PingChange(effective_ms, lateness_ms, verdict, reason, weight, *shown, legs)


def _verdict(
    before: SpeedState | None, after: SpeedState | None, effective_ms: int, event_id: str
) -> tuple[FoldVerdict, str | None, float]:
    """The verdict, its reason and the weight. ``event_id``: without hyphens, as the window has it."""
    if after is None:
        return FoldVerdict.NOT_FOLDED, None, 0.0
    if before is not None and after.too_late > before.too_late:
        return FoldVerdict.TOO_LATE, None, 0.0
    identity = effective_ms, event_id
    pings = explained(after)
    found = next((ping for ping in pings if (ping["event_timestamp_ms"], ping["event_id"]) == identity), None)
    if found is None:
        return FoldVerdict.NOT_FOLDED, None, 0.0
    if found["rejected"] is not None:
        return FoldVerdict.REJECTED, str(found["rejected"]), 0.0
    return FoldVerdict.ACCEPTED, None, float(found["weight"])


def _shown(state: SpeedState | None) -> WindowThen | None:
    if state is None:
        return None
    found = features(state)
    return WindowThen(found.speed_mps, found.path_speed_mps, explained(state))
