"""The benchmark of a learned ETA: its rows are those of a training set, and its table knows only the training days."""

from __future__ import annotations

import pytest

from benchmarks.eta_model import row, table_of
from benchmarks.eta_walk import Sample, Trip
from domain.features.eta.features import EtaReading
from domain.features.eta.packaged import packaged_baseline
from infrastructure.training_sets.eta_rows import COLUMNS, features_of, way_of
from tests.support.eta.model_rows import FEATURES, START_MS, WAY, facts

BASELINE = packaged_baseline()


def sample(true_s: float, metres: float = 900.0) -> Sample:
    features = FEATURES._replace(rider_to_customer_m=metres)
    trip = Trip("trip", "taxi", START_MS, (37.7, -122.4), START_MS + round(1_000 * true_s), (37.8, -122.4), True)
    return Sample(trip, START_MS, EtaReading(features, WAY, 0, facts()), true_s)


def test_a_sample_is_a_row_that_the_model_can_be_asked_for() -> None:
    one = sample(300.0)
    found = row(one, BASELINE)
    assert set(found) == set(COLUMNS)
    assert (features_of(found), way_of(found)) == (one.reading.features, one.reading.way)
    assert (found["baseline_p50_s"], found["baseline_p90_s"]) == BASELINE.predict(one.reading.features, WAY)
    assert (found["label_s"], found["label_event_ms"]) == (300.0, START_MS + 300_000)


def test_the_table_has_the_medians_of_the_training_days() -> None:
    training = [sample(float(number)) for number in range(100, 121)]
    assert table_of(training, [sample(9_999.0)]) == [110.0]
    # A band without a training day is answered by the straight line.
    assert table_of(training, [sample(1.0, metres=19_000.0)]) == [pytest.approx(19_000.0 / 4.77)]
