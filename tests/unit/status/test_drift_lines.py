"""The status lines of drift and of the error of served ETAs."""

from __future__ import annotations

from datetime import date

from infrastructure.postgres.eta_drift import DriftOfDay, FeatureDrift, LegErrors
from infrastructure.status.drift_lines import drift_line, eta_error_line

DAY, MODEL = date(2026, 11, 29), "0123456789abcdef"


def test_a_shifted_feature_is_named_and_turns_nothing_red() -> None:
    drift = [
        FeatureDrift(MODEL, "recent_duration_s", 0.41, 0.02, 4_000, 1_900),
        FeatureDrift(MODEL, "rider_speed_mps", 0.03, 0.02, 4_000, 1_900),
        # Above what counts as a shift, and within what so few orders have by chance.
        FeatureDrift(MODEL, "items", 0.30, 0.35, 90, 80),
    ]
    line = drift_line(DriftOfDay(DAY, drift, []))
    assert line.state == "2026-11-29: 2 features as in training, 1 shifted: recent_duration_s (PSI 0.41)"
    assert line.good


def test_without_a_training_set_the_line_says_so() -> None:
    assert drift_line(None).state == "no served ETAs compared"
    assert drift_line(DriftOfDay(DAY, [], [])).state == ("2026-11-29: the model names no training set to compare with")
    assert eta_error_line(DriftOfDay(DAY, [], [])).state == "no served ETA of an order that is over"


def test_the_error_is_that_of_the_model_with_the_most_answers() -> None:
    errors = [
        LegErrors("old", "to_customer", 40, 30, 300.0, 250.0, 10, 20),
        LegErrors(MODEL, "unassigned", 500, 400, 410.4, -61.2, 240, 430),
        LegErrors(MODEL, "to_customer", 900, 600, 120.0, 5.0, 450, 812),
    ]
    assert eta_error_line(DriftOfDay(DAY, [], errors)).state == (
        "2026-11-29, model 0123456789ab: to_customer off by 120 s, bias +5 s, P90 held 90%;"
        " unassigned off by 410 s, bias -61 s, P90 held 86%"
    )
