"""What is told of a leg in words, and when a place's address is known to be wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from read_models.completion.answer import EVIDENCE, completion_of
from read_models.completion.offsets import usual_offset

AT = datetime(2026, 11, 1, 11, 3, 20, tzinfo=UTC)
LATER = datetime(2026, 11, 1, 11, 4, 1, tzinfo=UTC)
NOTHING: dict[str, Any] = dict.fromkeys(
    (
        *("outcome", "approach_at", "arrived_at", "done_at", "button_at", "basis", "certainty"),
        *("distance_mm", "accuracy_mm", "button_distance_mm", *EVIDENCE.values()),
    )
)


def sentence(zone: str = "Europe/Berlin", **fields: Any) -> str:
    row = NOTHING | {"leg": "to_customer", "rider_id": "anna"} | fields
    completion = completion_of([row], zone)
    assert completion is not None
    return completion.legs[0].sentence


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "No pings show an arrival so far, and no button was pressed."),
        ({"arrived_at": AT, "basis": "pings"}, "Arrived by pings at 12:03:20 (Europe/Berlin)."),
        (
            {"arrived_at": AT, "done_at": LATER, "done_event": "p", "basis": "pings"},
            "Arrived by pings at 12:03:20, done by pings at 12:04:01 (Europe/Berlin).",
        ),
        (
            {"arrived_at": AT, "done_at": LATER, "button_at": LATER, "done_event": "b", "button_event": "b"},
            "Arrived by pings at 12:03:20, button at 12:04:01 (Europe/Berlin).",
        ),
        (
            {"done_at": LATER, "button_at": LATER, "basis": "button", "done_event": "b", "button_event": "b"},
            "Button at 12:04:01, and the pings do not show where the rider was (Europe/Berlin).",
        ),
        (
            {"button_at": LATER, "basis": "button", "distance_mm": 90_400},
            "Button at 12:04:01, 90 m from the address by the pings (Europe/Berlin).",
        ),
        (
            {"button_at": LATER, "basis": "button_against_pings", "distance_mm": 2_000_000},
            "Button at 12:04:01, and the pings show the rider elsewhere (Europe/Berlin).",
        ),
    ],
)
def test_a_sentence_names_each_instant_and_by_what_it_is_known(fields: dict[str, Any], expected: str) -> None:
    assert sentence(**fields) == expected


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd"])
def test_an_unknown_zone_is_utc(zone: str) -> None:
    assert sentence(zone, arrived_at=AT) == "Arrived by pings at 11:03:20 (UTC)."


def test_an_order_without_legs_has_no_completion() -> None:
    assert completion_of([], "UTC") is None


@pytest.mark.parametrize(
    ("stops", "north_mm", "far", "known"),
    [
        (5, 5 * 104_000, 5, True),
        (4, 4 * 104_000, 4, False),  # too few
        (10, 10 * 104_000, 4, False),  # most of them are near
        (10, 10 * 102_000, 10, False),  # all far, but not at one place
        (20, 2_000_000, 1, False),  # one rider pressed two kilometres away
        (None, None, None, False),
    ],
)
def test_an_offset_is_known_when_most_riders_stop_at_one_far_place(
    stops: int | None, north_mm: int | None, far: int | None, known: bool
) -> None:
    sums = {"stops": stops, "north_mm": north_mm, "east_mm": stops and 0, "far_stops": far}
    assert usual_offset(sums)["offset_known"] is known
