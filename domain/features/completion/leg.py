"""One leg of a rider with all that is kept of it. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from domain.features.completion import rules
from domain.features.completion.button import NO_VIEW, ButtonView, button_view
from domain.features.completion.packed_progress import NO_PROGRESS_BYTES, packed_progress, unpacked_progress
from domain.features.completion.progress import (
    APPROACHING,
    ARRIVED,
    EN_ROUTE,
    LIGHT,
    NO_EVENT,
    NO_PROGRESS,
    LegPlace,
    LegProgress,
    advanced,
    arrived_at_rest,
    is_far,
)
from domain.features.completion.track import BLOCK_MS, KEPT_BLOCKS, TrackedFix, steps_between


class EndOfLeg(IntEnum):
    """How a leg ended. The number is stored: append only."""

    OPEN = 0
    COMPLETED = 1
    """By the button."""
    UNASSIGNED = 2
    CANCELLED = 3
    OTHER = 4
    """An outcome of a later contract."""


COMPLETED: Final = int(EndOfLeg.COMPLETED)
END_OF: Final = {"completed": EndOfLeg.COMPLETED, "unassigned": EndOfLeg.UNASSIGNED, "cancelled": EndOfLeg.CANCELLED}

NO_CHECKPOINTS: Final = (NO_PROGRESS_BYTES,) * KEPT_BLOCKS


class TrackedLeg(NamedTuple):
    """``end`` is an EndOfLeg; ``ended_ms`` and ``ended_event`` are those of the LegEnded, 0 and NO_EVENT before it.

    ``checkpoints``: the packed progress at the beginning of each kept minute, the oldest first. What came before the
    oldest can no longer change. ``now``: the progress after all fixes of the track.
    """

    order_id: str
    leg: str
    place: LegPlace
    end: int = EndOfLeg.OPEN
    ended_ms: int = 0
    ended_event: bytes = NO_EVENT
    checkpoints: tuple[bytes, ...] = NO_CHECKPOINTS
    now: LegProgress = NO_PROGRESS
    view: ButtonView = NO_VIEW


def stepped(leg: TrackedLeg, progress: LegProgress, before: TrackedFix | None, fix: TrackedFix) -> LegProgress:
    """The progress of the leg after one more fix. Of the fixes after a button only an arrival is of interest."""
    if leg.end and fix.t_ms > leg.ended_ms and (fix.t_ms > last_counted_ms(leg) or is_arrived(leg, progress)):
        return progress
    return advanced(progress, leg.place, before, fix)


def is_touched(leg: TrackedLeg, t_ms: int, latitude_e7: int, longitude_e7: int) -> bool:
    """Whether a fix that is soon after the one before it may change the leg."""
    _, _, place, end, ended_ms, _, _, now, _ = leg
    if end:
        return t_ms <= ended_ms or (t_ms <= last_counted_ms(leg) and not is_arrived(leg, now))
    return now[0] != EN_ROUTE or not is_far(place, latitude_e7, longitude_e7)


def last_counted_ms(leg: TrackedLeg) -> int:
    """The end of the time whose pings count for an ended leg."""
    return leg.ended_ms + (rules.AFTER_END_MS if leg.end == COMPLETED else 0)


def is_confirmed(leg: TrackedLeg, progress: LegProgress) -> bool:
    """Whether a button was pressed during a rest at the target that alone is too short for an arrival."""
    return (
        leg.end == COMPLETED
        and (progress.phase == APPROACHING or progress.marks & LIGHT > 0)
        and progress.rest_fixes > 0
        and progress.rest.ms <= leg.ended_ms
        and leg.ended_ms - progress.latest.ms <= rules.CONFIRM_MS
    )


def is_arrived(leg: TrackedLeg, progress: LegProgress) -> bool:
    """Whether the rider has arrived, by the pings alone or confirmed by the button."""
    return progress.phase >= ARRIVED or is_confirmed(leg, progress)


def confirmed(leg: TrackedLeg) -> LegProgress:
    """The progress with the arrival that the button confirms."""
    return arrived_at_rest(leg.now) if is_confirmed(leg, leg.now) else leg.now


def with_minutes(leg: TrackedLeg, minutes: int) -> TrackedLeg:
    """The leg when the newest minute is this many later: what it is now is the checkpoint of each of them."""
    now = packed_progress(leg.now)
    if leg.checkpoints == (now,) * KEPT_BLOCKS:
        return leg  # as for most of the way, where nothing happens
    checkpoints = leg.checkpoints + (now,) * min(minutes, KEPT_BLOCKS)
    return leg._replace(checkpoints=checkpoints[-KEPT_BLOCKS:])


def replayed(leg: TrackedLeg, track: bytes, open_ms: int) -> TrackedLeg:
    """The leg made again from its oldest checkpoint, at ``open_ms``, and the fixes since."""
    progress = unpacked_progress(leg.checkpoints[0])
    checkpoints = []
    for minute in range(KEPT_BLOCKS):
        checkpoints.append(packed_progress(progress))
        from_ms = open_ms + minute * BLOCK_MS
        for before, fix in steps_between(track, max(from_ms, leg.place.started_ms), from_ms + BLOCK_MS):
            progress = stepped(leg, progress, before, fix)
    return leg._replace(checkpoints=tuple(checkpoints), now=progress)


def needs_track(leg: TrackedLeg, open_ms: int) -> bool:
    """Whether a ping may still change what the pings around the button say."""
    if leg.end != COMPLETED:
        return False
    return leg.ended_ms >= open_ms or unpacked_progress(leg.checkpoints[0]).phase < ARRIVED


def viewed(leg: TrackedLeg, track: bytes) -> TrackedLeg:
    """The leg with the view of its button, as the track shows it."""
    view = button_view(track, leg.place, leg.ended_ms, leg.now)
    return leg if view == leg.view else leg._replace(view=view)


def is_final(leg: TrackedLeg, open_ms: int) -> bool:
    """Whether no ping can change the leg any more."""
    return leg.end != EndOfLeg.OPEN and last_counted_ms(leg) // BLOCK_MS < open_ms // BLOCK_MS
