"""The drift of one day: what the calendar alone changes from day to day is no shift."""

from __future__ import annotations

import random

import msgspec

from domain.features.drift.psi import is_shifted
from domain.features.drift.reference import FeatureValue, references_from, references_of
from infrastructure.operations.eta_drift import DAY_MS, ReadAnswer, day_of, drift_of_day, read_answers
from infrastructure.postgres.eta_drift import AnsweredEta, DriftOfDay

MODEL = "a" * 64
START_MS = 20_514 * DAY_MS
HOUR_MS = DAY_MS // 24


def features(at_ms: int, chance: random.Random) -> dict[str, FeatureValue]:
    return {
        "local_time_of_day_h": at_ms % DAY_MS / HOUR_MS,
        "local_day_of_week": (at_ms - START_MS) // DAY_MS % 7,
        "rider_speed_mps": chance.gauss(5.0, 1.0),
    }


def training() -> dict[str, list[FeatureValue]]:
    """Four weeks, every hour alike."""
    chance = random.Random(1)
    rows = [features(START_MS - n * 28 * DAY_MS // 4_000, chance) for n in range(4_000)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def answers(until_h: float, speed_factor: float = 1.0) -> list[ReadAnswer]:
    """400 orders of the day, as in training, up to an hour of it."""
    chance, found = random.Random(2), []
    for n in range(400):
        at_ms = START_MS + round(n * until_h * HOUR_MS / 400)
        values = features(at_ms, chance)
        values["rider_speed_mps"] = chance.gauss(5.0, 1.0) * speed_factor
        body = msgspec.json.encode({"p50_seconds": 600.0, "p90_seconds": 900.0, "features": values})
        found.append(AnsweredEta(f"o{n}", MODEL, at_ms, body, None))
    return read_answers(found)


def drift(of_day: list[ReadAnswer], now_h: float) -> DriftOfDay:
    references = {MODEL: references_from(references_of(training()))}
    return drift_of_day(day_of(START_MS), of_day, references, START_MS + round(now_h * HOUR_MS))


def shifted(found: DriftOfDay) -> set[str]:
    return {one.feature for one in found.drift if is_shifted(one.psi, one.chance_psi)}


def test_regression_a_day_as_in_training_has_not_shifted_because_it_is_one_weekday() -> None:
    found = drift(answers(until_h=24.0), now_h=25.0)
    assert {one.feature for one in found.drift} == {"local_time_of_day_h", "rider_speed_mps"}
    assert not shifted(found)


def test_regression_a_morning_as_in_training_has_not_shifted_because_the_evening_is_to_come() -> None:
    found = drift(answers(until_h=6.0), now_h=6.0)
    assert {one.feature for one in found.drift} == {"rider_speed_mps"}
    assert not shifted(found)


def test_other_hours_of_a_day_that_is_over_and_other_values_of_any_day_are_found() -> None:
    assert shifted(drift(answers(until_h=6.0), now_h=25.0)) == {"local_time_of_day_h"}
    assert shifted(drift(answers(until_h=6.0, speed_factor=1.5), now_h=6.0)) == {"rider_speed_mps"}
