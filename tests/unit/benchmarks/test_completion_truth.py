"""Completion against the simulator's truth, in a small seeded city; ``benchmarks/completion.py`` has the large ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.completion import GPS_DATA
from benchmarks.completion_stops import FILE, found_share, read_stops
from benchmarks.completion_truth import checks, rides_of, scenario_of, tally
from domain.features.completion.fold import EMPTY, CompletionState, fold


def test_legs_are_arrived_and_done_when_they_really_were() -> None:
    rides = rides_of(scenario_of("1", 10.0, riders=12, hours=4.0))
    found = tally(checks(rides))
    assert found["completed legs"] >= 100
    assert found["arrived within 30 s, %"] >= 95.0
    assert found["done within 30 s, %"] >= 95.0
    assert found["false arrivals, %"] == 0.0
    # Simulated riders press where they are: no honest one is accused.
    states: dict[str, CompletionState] = {}
    for event in rides.events:
        state = states[event.key] = fold(states.get(event.key, EMPTY), event)
        assert all(final.case is None for final in state.finals)


def test_real_stops_are_found_at_their_place_and_not_100_metres_away() -> None:
    folder = Path(os.environ.get(GPS_DATA, ""))
    if GPS_DATA not in os.environ or not (folder / FILE).exists():
        pytest.skip(f"set {GPS_DATA} to the folder of {FILE}")
    stops = read_stops(folder)[::8]
    assert found_share(stops, 0.0) > 0.9
    assert found_share(stops, 103.0) < 0.5
