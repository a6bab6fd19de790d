"""What an order's answer says of its completion: per leg the instants, their evidence, and one plain sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from domain.features.completion.result import Basis
from domain.timestamps import epoch_ms


class LegCompletion(msgspec.Struct):
    """One leg. Times in epoch milliseconds, distances to the target in metres; null = not so far, or unknown.

    ``evidence``: the ids of the events that show the instants. ``sentence``: the same for people, in the order's zone.
    """

    leg: str
    rider_id: str
    outcome: str | None
    approach_at_ms: int | None
    arrived_at_ms: int | None
    done_at_ms: int | None
    button_at_ms: int | None
    basis: str | None
    certainty: str | None
    distance_m: float | None
    accuracy_m: float | None
    button_distance_m: float | None
    evidence: dict[str, str | None]
    sentence: str


class Completion(msgspec.Struct):
    """How the legs of an order were completed, by the pings of its riders and by their buttons."""

    legs: list[LegCompletion]


EVIDENCE: Final = {
    "approach": "approach_event",
    "arrived": "arrived_event",
    "done": "done_event",
    "button": "button_event",
}


def completion_of(rows: Iterable[Mapping[str, Any]], time_zone: str) -> Completion | None:
    """The completion of an order from the rows of its legs; None without any. The restaurant's leg comes first."""
    legs = [_leg(row, _zone(time_zone)) for row in rows]
    legs.sort(key=lambda leg: leg.leg, reverse=True)
    return Completion(legs) if legs else None


def _leg(row: Mapping[str, Any], zone: ZoneInfo | None) -> LegCompletion:
    return LegCompletion(
        leg=row["leg"],
        rider_id=row["rider_id"],
        outcome=row["outcome"],
        approach_at_ms=_ms(row["approach_at"]),
        arrived_at_ms=_ms(row["arrived_at"]),
        done_at_ms=_ms(row["done_at"]),
        button_at_ms=_ms(row["button_at"]),
        basis=row["basis"],
        certainty=row["certainty"],
        distance_m=_metres(row["distance_mm"]),
        accuracy_m=_metres(row["accuracy_mm"]),
        button_distance_m=_metres(row["button_distance_mm"]),
        evidence={name: row[column] for name, column in EVIDENCE.items()},
        sentence=_sentence(row, zone),
    )


def _sentence(row: Mapping[str, Any], zone: ZoneInfo | None) -> str:
    """``Arrived by pings at 12:03:20, button at 12:04:01 (Europe/Berlin).``"""
    arrived, done, button = row["arrived_at"], row["done_at"], row["button_at"]
    parts = [] if arrived is None else [f"arrived by pings at {_clock(arrived, zone)}"]
    if button is not None:
        parts.append(f"button at {_clock(button, zone)}")
    if done is not None and row["done_event"] != row["button_event"]:
        parts.append(f"done by pings at {_clock(done, zone)}")
    if not parts:
        return "No pings show an arrival so far, and no button was pressed."
    if row["basis"] == Basis.AGAINST:
        parts.append("and the pings show the rider elsewhere")
    elif arrived is None:
        parts.append("and the pings do not show where the rider was" if row["distance_mm"] is None else _how_far(row))
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]} ({'UTC' if zone is None else zone.key})."


def _how_far(row: Mapping[str, Any]) -> str:
    return f"{row['distance_mm'] / 1_000:.0f} m from the address by the pings"


def _clock(instant: datetime, zone: ZoneInfo | None) -> str:
    return instant.astimezone(zone or UTC).strftime("%H:%M:%S")


def _zone(name: str) -> ZoneInfo | None:
    """The zone of the order; None = UTC, if the order names none that is known here."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _ms(instant: datetime | None) -> int | None:
    return None if instant is None else epoch_ms(instant)


def _metres(mm: int | None) -> float | None:
    return None if mm is None else mm / 1_000
