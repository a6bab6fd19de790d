"""The result of a leg: arrived, done, by what, how surely, with the event ids that show it. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from domain.features.completion import rules
from domain.features.completion.button import UNKNOWN_MM
from domain.features.completion.leg import EndOfLeg, TrackedLeg, confirmed
from domain.features.completion.progress import ARRIVED, EN_ROUTE, LEFT, LegProgress
from domain.features.completion.track import NO_VALUE

PRESSED_LATE_MS: Final = 300_000
"""A button more than five minutes after leaving was forgotten: five times 100 m of leaving at a walk."""


class Basis(StrEnum):
    """By what a leg is known to be arrived or done."""

    PINGS = "pings"
    BUTTON = "button"
    """Only the button: the pings neither show nor exclude it."""
    BOTH = "both"
    AGAINST = "button_against_pings"
    """The button was pressed, and the pings show that the rider was elsewhere."""


class Certainty(StrEnum):
    """How sure the basis is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class LegResult(NamedTuple):
    """Times in epoch ms; distances to the target and accuracies in mm; None = not so far, or unknown.

    ``distance_mm`` and ``accuracy_mm`` are of the fix that shows the arrival; without one, of the latest fix before the
    button. ``…_event``: the event that shows the instant.
    """

    order_id: str
    leg: str
    place: str
    outcome: str | None
    started_ms: int
    approach_ms: int | None = None
    arrived_ms: int | None = None
    done_ms: int | None = None
    button_ms: int | None = None
    basis: str | None = None
    certainty: str | None = None
    distance_mm: int | None = None
    accuracy_mm: int | None = None
    button_distance_mm: int | None = None
    approach_event: str | None = None
    arrived_event: str | None = None
    done_event: str | None = None
    button_event: str | None = None


_OUTCOMES: Final = {
    EndOfLeg.OPEN: None,
    EndOfLeg.COMPLETED: "completed",
    EndOfLeg.UNASSIGNED: "unassigned",
    EndOfLeg.CANCELLED: "cancelled",
    EndOfLeg.OTHER: "other",
}


def result_of(leg: TrackedLeg) -> LegResult:
    """The result of a leg as its pings and its button are known now."""
    progress, pressed = confirmed(leg), leg.end == EndOfLeg.COMPLETED
    has_arrived = progress.phase >= ARRIVED
    is_near = progress.phase != EN_ROUTE
    done_ms, done_event = _done(leg, progress)
    basis, certainty = _basis(leg, progress)
    distance_mm, accuracy_cm = (
        (progress.arrival.mm, progress.arrival.accuracy_cm)
        if has_arrived
        else (leg.view.distance_mm, leg.view.accuracy_cm)
    )
    return LegResult(
        leg.order_id,
        leg.leg,
        place_id(leg.place.latitude_e7, leg.place.longitude_e7),
        _OUTCOMES[EndOfLeg(leg.end)],
        leg.place.started_ms,
        progress.approach.ms if is_near else None,
        progress.arrival.ms if has_arrived else None,
        done_ms,
        leg.ended_ms if pressed else None,
        basis,
        certainty,
        None if distance_mm == UNKNOWN_MM else distance_mm,
        None if accuracy_cm == NO_VALUE else 10 * accuracy_cm,
        None if leg.view.distance_mm == UNKNOWN_MM else leg.view.distance_mm,
        event_id(progress.approach.event) if is_near else None,
        event_id(progress.arrival.event) if has_arrived else None,
        done_event,
        event_id(leg.ended_event) if pressed else None,
    )


PLACE_E4: Final = 1_000
"""A place is its coordinates in 10⁻⁴ degrees, 11 m: what geocoders give for one door differs by less."""


def place_id(latitude_e7: int, longitude_e7: int) -> str:
    """The place of a target: its latitude and longitude, rounded down to 10⁻⁴ degrees."""
    return f"{_degrees_e4(latitude_e7 // PLACE_E4)},{_degrees_e4(longitude_e7 // PLACE_E4)}"


def _degrees_e4(value: int) -> str:
    whole, part = divmod(abs(value), 10_000)
    return f"{'-' if value < 0 else ''}{whole}.{part:04}"


def event_id(data: bytes) -> str:
    return str(UUID(bytes=data))


def is_long_stay(progress: LegProgress) -> bool:
    """Whether a rider who has arrived stayed long enough to be done."""
    return progress.latest.ms - progress.arrival.ms >= rules.STAY_MS


def _done(leg: TrackedLeg, progress: LegProgress) -> tuple[int | None, str | None]:
    """When the leg was done, and the event that shows it."""
    if leg.end not in {EndOfLeg.OPEN, EndOfLeg.COMPLETED}:
        return None, None
    if progress.phase == LEFT and is_long_stay(progress):
        return progress.latest.ms, event_id(progress.latest.event)
    if leg.end == EndOfLeg.OPEN or leg.view.against_mm:
        return None, None
    if progress.phase >= ARRIVED and progress.arrival.ms > leg.ended_ms:
        # Pressed too early: it cannot be done before the arrival.
        return progress.arrival.ms, event_id(progress.arrival.event)
    return leg.ended_ms, event_id(leg.ended_event)


def _basis(leg: TrackedLeg, progress: LegProgress) -> tuple[Basis | None, Certainty | None]:
    """docs/completion.md has this as a table."""
    has_arrived = progress.phase >= ARRIVED
    is_vague = has_arrived and progress.arrival.accuracy_cm > rules.WORST_ACCURACY_CM
    if leg.end != EndOfLeg.COMPLETED:
        if not has_arrived:
            return None, None
        return Basis.PINGS, Certainty.MEDIUM if is_long_stay(progress) and not is_vague else Certainty.LOW
    if has_arrived:
        is_short = leg.now.phase < ARRIVED
        is_early = progress.arrival.ms > leg.ended_ms
        is_late = progress.phase == LEFT and leg.ended_ms - progress.latest.ms > PRESSED_LATE_MS
        return Basis.BOTH, Certainty.MEDIUM if is_vague or is_short or is_early or is_late else Certainty.HIGH
    if leg.view.against_mm:
        return Basis.AGAINST, Certainty.HIGH if leg.view.against_mm >= 2 * rules.AGAINST_MM else Certainty.MEDIUM
    is_near = 0 <= leg.view.distance_mm <= rules.APPROACH_MM
    return Basis.BUTTON, Certainty.MEDIUM if is_near else Certainty.LOW
