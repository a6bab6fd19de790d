"""The benchmark of the ETA in a small town with known speeds: what it learns, and that it knows no future."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.eta_errors import errors, predicted, straight_line, table
from benchmarks.eta_fit import CHOSEN, KNOTS_M, Choice, choose, fit
from benchmarks.eta_leave_out import WITHOUT
from benchmarks.eta_real_trips import collect, left_out, lines, main
from benchmarks.eta_walk import Sample, read_pings, read_trips, walk
from domain.features.eta.baseline import Baseline
from domain.features.eta.packaged import packaged_baseline


@pytest.fixture(scope="module")
def samples(town: Path) -> list[Sample]:
    return collect(town)


def test_every_ping_of_a_trip_is_a_sample(town: Path, samples: list[Sample]) -> None:
    assert len(samples) == sum(bool(ping.trip_id) for ping in read_pings(town))
    first = samples[0]
    assert first.true_s == (first.trip.dropoff_ms - first.t_ms) / 1_000
    assert {sample.reading.features.leg for sample in samples} <= {"to_customer", "at_customer"}


def test_the_first_trip_knows_no_traffic(samples: list[Sample]) -> None:
    assert samples[0].reading.way.fleet_pace_s_per_km is None
    assert samples[-1].reading.way.fleet_pace_s_per_km is not None


def test_the_traffic_of_a_taxi_is_that_of_the_others(town: Path) -> None:
    trips = read_trips(town)
    alone = [ping for ping in read_pings(town) if ping.rider_id == "taxi-0"]
    for _, sample in walk(alone, trips):
        assert sample is None or sample.reading.way.fleet_pace_s_per_km is None


def test_what_comes_later_changes_no_sample(town: Path) -> None:
    trips, pings = read_trips(town), read_pings(town)
    whole = [sample for _, sample in walk(pings, trips)]
    for count in (1, len(pings) // 3, len(pings) // 2):
        assert [sample for _, sample in walk(pings[:count], trips)] == whole[:count]


def test_it_learns_that_headings_differ(samples: list[Sample]) -> None:
    later = samples[len(samples) // 2 :]
    without = WITHOUT["rider_speed_mps"]
    without_speed = [sample._replace(reading=without(sample.reading)) for sample in later]
    model = Baseline(fit(without_speed)).without_hand_over()
    own = errors([each.p50_s for each in predicted(model, without_speed)], later)
    assert own.mae < 0.6 * errors(straight_line(later), later).mae
    assert own.mae < 0.6 * errors(table(later), later).mae
    assert model.constants.distance_m == KNOTS_M
    assert model.constants.cell_exponent > 0.5


def test_constants_can_be_learned_without_what_they_are_tested_on(samples: list[Sample]) -> None:
    found = left_out(samples, lambda sample: int(sample.trip.rider_id[-1]) % 2)
    assert len(found) == len(samples)
    assert errors(found, samples).mae < errors(straight_line(samples), samples).mae


def test_the_tables_are_printed(samples: list[Sample]) -> None:
    text = "\n".join(lines(samples, packaged_baseline().without_hand_over()))
    for title in ("table: distance band", "by straight distance", "by local hour", "worth of a feature", "P90"):
        assert title in text
    assert "nan" not in text


def test_constants_are_written_with_their_origin(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RIDELOG_GPS_DATA", str(town))
    assert main(["--halves", "--fit", str(tmp_path / "learned.json")]) == 0
    written = (tmp_path / "learned.json").read_text()
    assert json.loads(written)["origin"]["samples"].endswith("4 days")
    assert Baseline.from_json(written).constants.constant_s == CHOSEN.constant_s
    printed = capsys.readouterr().out
    assert "ETA: the baseline" in printed
    assert "chosen on 3 of 5 taxis" in printed


def test_the_choice_with_the_lowest_score_is_chosen(samples: list[Sample]) -> None:
    assert choose(samples, lambda constants: abs(constants.constant_s - 30.0) + constants.rider_exponent) == Choice(
        30.0, 0.0
    )


def test_without_the_data_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("RIDELOG_GPS_DATA", raising=False)
    assert main([]) == 2
    assert "RIDELOG_GPS_DATA" in capsys.readouterr().err
