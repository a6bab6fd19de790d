"""A learned ETA on real taxi trips, split by days: python -m benchmarks.eta_model; RIDELOG_GPS_DATA names their folder.

The first days train, the last two are the test. Beside the model: the baseline, and a table of distance band by hour
that was learned from the same days. The pings of one trip are answers of one order. docs/training.md has the results.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.eta_errors import TABLE_MIN_SAMPLES, band_hour_day, metres_left
from benchmarks.eta_real_trips import collect
from benchmarks.eta_walk import PINGS, TIME_ZONE, Sample
from domain.features.eta.baseline import Baseline
from domain.features.eta.packaged import packaged_baseline
from infrastructure.training_sets.eta_rows import COLUMNS, FEATURE_COLUMNS, WAY_COLUMNS, way_columns
from infrastructure.training_sets.eta_scores import Answers, Truth, scores
from infrastructure.training_sets.evaluate_eta import answers_of, evaluate, lines
from infrastructure.training_sets.model_rows import model_rows
from infrastructure.training_sets.train_eta import TrainingOptions, train, write_model

TEST_DAYS = 2


def row(sample: Sample, baseline: Baseline) -> dict[str, Any]:
    """The sample as a row of a training set."""
    features, way = sample.reading.features, sample.reading.way
    quantiles = baseline.predict(features, way)
    trip = sample.trip
    found: dict[str, Any] = dict.fromkeys(COLUMNS)
    found |= dict(zip(FEATURE_COLUMNS, features, strict=True)) | dict(zip(WAY_COLUMNS, way_columns(way), strict=True))
    return found | {
        "order_id": trip.trip_id,
        "at_ms": sample.t_ms,
        "position": 0,
        "source": "rule",
        "city": "",
        "time_zone": TIME_ZONE,
        "placed_at_ms": trip.pickup_ms,
        "restaurant_latitude": trip.pickup[0],
        "restaurant_longitude": trip.pickup[1],
        "customer_latitude": trip.dropoff[0],
        "customer_longitude": trip.dropoff[1],
        "baseline_p50_s": quantiles.p50_s,
        "baseline_p90_s": quantiles.p90_s,
        "outcome": "completed",
        "censored": False,
        "label_s": sample.true_s,
        "label_event_ms": trip.dropoff_ms,
        "label_known_ms": trip.dropoff_ms,
        "label_position": 0,
    }


def table_of(training: Sequence[Sample], test: Sequence[Sample]) -> list[float]:
    """The median by distance band and hour of the training days; of the band if that has few samples."""
    cells: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    bands: defaultdict[int, list[float]] = defaultdict(list)
    for sample in training:
        band, hour, _ = band_hour_day(sample)
        cells[band, hour].append(sample.true_s)
        bands[band].append(sample.true_s)
    of_cell = {key: median(values) for key, values in cells.items() if len(values) >= TABLE_MIN_SAMPLES}
    of_band = {key: median(values) for key, values in bands.items()}
    keys = [band_hour_day(sample)[:2] for sample in test]
    return [
        of_cell.get(key, of_band.get(key[0], metres_left(sample) / 4.77))
        for key, sample in zip(keys, test, strict=True)
    ]


def report(samples: Sequence[Sample], options: TrainingOptions, out: Path | None) -> Iterator[str]:
    baseline = packaged_baseline().without_hand_over()
    days = sorted({band_hour_day(sample)[2] for sample in samples})
    first_test_day = days[-TEST_DAYS]
    placed_day = {
        sample.trip.trip_id: band_hour_day(sample._replace(t_ms=sample.trip.pickup_ms))[2] for sample in samples
    }
    is_test = [placed_day[sample.trip.trip_id] >= first_test_day for sample in samples]
    training = [sample for sample, late in zip(samples, is_test, strict=True) if not late]
    test = [sample for sample, late in zip(samples, is_test, strict=True) if late]
    text = json.dumps({"constants": baseline.constants._asdict()}).encode()
    rows = model_rows((row(sample, baseline) for sample in training), baseline, None)
    made = train(rows, baseline, text, options, {"data": "taxis, San Francisco, 2008"}, _step)
    if out is not None:
        write_model(out, made.files)
    of_test = model_rows((row(sample, baseline) for sample in test), baseline, made.model.spec.cities)
    yield f"trained on {len(training):,} pings of {len(days) - TEST_DAYS} days, tested on {len(test):,} of {TEST_DAYS}"
    yield from lines(evaluate(made.model, of_test, by_order=False))
    truth = Truth(of_test.label_s, of_test.at_ms, of_test.orders)
    of_table = scores(Answers(np.array(table_of(training, test))), truth)
    own = scores(answers_of(made.model, of_test).answers, truth)
    yield ""
    yield f"table distance band × hour of the training days: MAE {of_table.mae_s:.1f} s, P90 {of_table.p90_s:.1f} s"
    mae, p90 = own.mae_s / of_table.mae_s - 1, own.p90_s / of_table.p90_s - 1
    yield f"model against the table: MAE {mae:+.1%}, P90 {p90:+.1%}"
    for one in made.left_out:
        yield f"  without {one.group:34} MAE {one.worth_s:+6.2f} s"


def _step(name: str) -> None:
    print(name, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] = ()) -> int:
    """Train, test and print the tables. Exit code 2 without the data."""
    parser = argparse.ArgumentParser(description="A learned ETA on real taxi trips.")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the model")
    parser.add_argument("--no-leave-out", action="store_true", help="do not measure the worth of inputs")
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("RIDELOG_GPS_DATA", ""))
    if not os.environ.get("RIDELOG_GPS_DATA") or not (folder / PINGS).exists():
        sys.stderr.write(f"RIDELOG_GPS_DATA does not name a folder with {PINGS}: see docs/training.md\n")
        return 2
    wanted = TrainingOptions("taxis", leave_out=not options.no_leave_out)
    for line in report(collect(folder), wanted, options.out):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
