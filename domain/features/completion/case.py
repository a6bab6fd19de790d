"""The case for the desk when a button contradicts the pings: who was where, by which events. Pure."""

from __future__ import annotations

from typing import Final

from domain.features.case_file import (
    COMPLETION,
    MAX_EVIDENCE_IDS,
    MAX_WINDOW_FIXES,
    CaseFile,
    CaseFix,
    Signal,
    alert_id,
)
from domain.features.completion import rules
from domain.features.completion.button import window_fixes
from domain.features.completion.leg import TrackedLeg
from domain.features.completion.progress import DEGREES, distance_mm
from domain.features.completion.result import event_id, place_id
from domain.features.completion.track import NO_VALUE, TrackedFix

FOLD_VERSION: Final = 2
"""Part of every file, so that a file says by which rules it was made."""

SIGNAL: Final = "button_against_pings"

LOWEST_SCORE: Final = 60
HIGHEST_SCORE_MM: Final = 2_000_000
"""The score goes from 60 at AGAINST_MM to 100 at two kilometres: the farther, the less an error of an address or of a
phone can be the cause. It orders the desk's list and decides nothing."""


def case_of_button(rider_id: str, leg: TrackedLeg, track: bytes, position: int) -> CaseFile:
    """The case of a final leg whose view is against its button. ``position``: of the event that made it final."""
    fixes = _nearest_in_time(window_fixes(track, leg.ended_ms), leg.ended_ms)
    button = event_id(leg.ended_event)
    shown = [event_id(fix.event_id) for fix in fixes[: MAX_EVIDENCE_IDS - 1]]
    nearest = min(fixes, key=lambda fix: (distance_mm(leg.place, fix), fix.t_ms))
    measured: tuple[tuple[str, int | float | str | None], ...] = (
        ("at_least_mm", leg.view.against_mm),
        ("nearest_mm", distance_mm(leg.place, nearest)),
        ("nearest_accuracy_mm", None if nearest.accuracy_cm == NO_VALUE else 10 * nearest.accuracy_cm),
        ("button_ms", leg.ended_ms),
        ("started_ms", leg.place.started_ms),
        ("fixes", len(fixes)),
        ("place", place_id(leg.place.latitude_e7, leg.place.longitude_e7)),
        ("target_latitude_e7", leg.place.latitude_e7),
        ("target_longitude_e7", leg.place.longitude_e7),
    )
    return CaseFile(
        alert_id(COMPLETION, rider_id, button),
        rider_id,
        COMPLETION,
        FOLD_VERSION,
        leg.ended_ms,
        position,
        position,
        _score(leg.view.against_mm),
        (Signal(SIGNAL, measured, (button, *shown)),),
        tuple([_case_fix(fix) for fix in fixes]),
        leg.order_id,
        leg.leg,
    )


def _nearest_in_time(fixes: list[TrackedFix], ended_ms: int) -> list[TrackedFix]:
    """At most MAX_WINDOW_FIXES, those around the button, in order of time."""
    return sorted(sorted(fixes, key=lambda fix: (abs(fix.t_ms - ended_ms), fix))[:MAX_WINDOW_FIXES])


def _score(against_mm: int) -> int:
    part = (against_mm - rules.AGAINST_MM) * (100 - LOWEST_SCORE) // (HIGHEST_SCORE_MM - rules.AGAINST_MM)
    return min(100, LOWEST_SCORE + part)


def _case_fix(fix: TrackedFix) -> CaseFix:
    """The ping as it was recorded, rounded as a tracked fix is: to a centimetre and to 1 mm/s."""
    sent_ms, received_ms = fix.sent_and_received
    return CaseFix(
        event_id(fix.event_id),
        sent_ms,
        received_ms,
        fix.position,
        fix.latitude_e7 * DEGREES,
        fix.longitude_e7 * DEGREES,
        None if fix.accuracy_cm == NO_VALUE else fix.accuracy_cm / 100,
        None if fix.speed_mm_s == NO_VALUE else fix.speed_mm_s / 1_000,
        fix.is_mock,
    )
