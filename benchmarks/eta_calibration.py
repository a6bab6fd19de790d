"""What the calibration of the ETA is worth under drift, and what it costs: python -m benchmarks.eta_calibration.

First simulated orders whose truth drifts away from the model, with each method that was tried. Then real taxi trips
(``RIDELOG_GPS_DATA`` names their folder), one answer a trip, whose true times are 30 % longer from the fourth day on:
coverage by day without and with the calibration. Last the CPU of one answer and of one snapshot. docs/eta.md has the
results.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.calibration_drift import DRIFTS, METHODS, coverage, hours_of
from benchmarks.eta_real_trips import collect
from benchmarks.eta_walk import PINGS, Sample
from domain.features.calibration.adjustment import Calibration, Thresholds
from domain.features.calibration.online import HOUR_MS, WINDOW_HOURS, OnlineCalibration
from domain.features.calibration.scores import BINS, one_in
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.quantiles import EtaQuantiles
from read_models.city.calibration import ScoreHours

SLOWER = 1.3
SLOWER_FROM_DAY = 3
DAY_MS = 24 * HOUR_MS
LEGS = ("unassigned", "to_restaurant", "at_restaurant", "to_customer", "at_customer")


def drift_lines(orders_a_week: int) -> Iterator[str]:
    yield f"{orders_a_week:,} orders a week, ten weeks; weeks 2 to 10: the largest error of a week, in standard errors"
    yield f"{'':26}{'P50':>8}{'P90':>8}{'loss':>8}   " + "".join(f"{kind:>10}" for kind in DRIFTS)
    hours = {kind: list(hours_of(kind, orders_a_week)) for kind in DRIFTS}
    for name, method in METHODS.items():
        found = [coverage(hours[kind], method()) for kind in DRIFTS]
        worst = [max((one.over_all[n] for one in found), key=lambda share: abs(share - level)) for n, level in _LEVELS]
        loss = sum(one.loss for one in found) / len(found)
        by_kind = "".join(f"{one.worst:10.1f}" for one in found)
        yield f"{name:26}{worst[0]:8.1%}{worst[1]:8.1%}{loss:8.3f}   {by_kind}"
    yield ""


_LEVELS = ((0, 0.5), (1, 0.9))


def trip_lines(samples: Sequence[Sample]) -> Iterator[str]:
    """One answer a trip, at its first ping: in the order of the answers, with what was known before each."""
    model = packaged_baseline().without_hand_over()
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.trip.trip_id, sample)
    start = min(sample.t_ms for sample in first.values())
    events: list[tuple[int, int, str, Sample, float]] = []
    for trip, sample in first.items():
        day = (sample.t_ms - start) // DAY_MS
        true_s = sample.true_s * (SLOWER if day >= SLOWER_FROM_DAY else 1.0)
        events.append((sample.t_ms, 1, trip, sample, true_s))
        events.append((sample.t_ms + round(1_000 * true_s), 0, trip, sample, true_s))
    online = OnlineCalibration()
    days: defaultdict[int, list[tuple[float, ...]]] = defaultdict(list)
    for at_ms, is_answer, _, sample, true_s in sorted(events, key=lambda event: event[:3]):
        of_model = model.predict(sample.reading.features, sample.reading.way)
        cell = (sample.reading.features.leg, "San Francisco")
        if not is_answer:
            online.add(cell, of_model, true_s, at_ms)
            continue
        served = online.at(at_ms).adjust(*cell, of_model)
        covered = tuple(true_s <= each for each in (*of_model, *served))
        errors = abs(true_s - of_model.p50_s), abs(true_s - served.p50_s)
        days[(at_ms - start) // DAY_MS].append((*covered, *errors))
    yield f"taxi trips, {SLOWER - 1:.0%} longer from day {SLOWER_FROM_DAY + 1} on; truth at most P50, P90; MAE in s"
    yield f"{'day':>4}{'trips':>8}   {'not calibrated':>24}   {'calibrated':>24}"
    rows = [(str(day + 1), found) for day, found in sorted(days.items())]
    for name, found in [*rows, ("all", [one for _, each in rows for one in each])]:
        p50, p90, p50_c, p90_c, mae, mae_c = (sum(column) / len(found) for column in zip(*found, strict=True))
        yield f"{name:>4}{len(found):8}   {p50:8.1%}{p90:8.1%}{mae:8.1f}   {p50_c:8.1%}{p90_c:8.1%}{mae_c:8.1f}"
    yield ""


def cost_lines() -> Iterator[str]:
    calibration = Calibration({(leg, city): Thresholds(300, 1_400) for leg in LEGS for city in ("", "Berlin")})
    model = EtaQuantiles(600.0, 900.0)
    took = _cpu_us(lambda: calibration.adjust("to_customer", "Berlin", model), 200_000)
    yield f"adjusting one answer: {took:.2f} µs of CPU"
    for cities in (1, 20):
        yield _snapshot_cost(cities)


def _snapshot_cost(cities: int) -> str:
    """Every hour of the window has an outcome in each leg and city."""
    kept, now = ScoreHours(), WINDOW_HOURS + 10
    at_ms = now * HOUR_MS
    fields = {f"{leg}/city {n}": one_in(n % BINS) for leg in LEGS for n in range(cities)}
    sums = dict.fromkeys(range(10, now), fields)
    kept.update(sums, {hour: hour for hour in sums}, sums)

    def late() -> None:
        kept.update(sums, {now - 1: now - 1}, {now - 1: set(fields)})
        kept.calibration(at_ms)

    whole = _cpu_us(lambda: kept.calibration(at_ms), 1) / 1_000
    again, same = _cpu_us(late, 20) / 1_000, _cpu_us(lambda: kept.calibration(at_ms), 1_000)
    return (
        f"thresholds of 28 days, 5 legs in {cities} cities: {whole:.0f} ms of CPU once an hour, "
        f"{again:.1f} ms after a late outcome, {same:.1f} µs else"
    )


def _cpu_us(call: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - began) / times * 1e6


def main(arguments: Sequence[str] = ()) -> int:
    """Run the parts and print their tables. Without the taxis their part is left out, with one line."""
    parser = argparse.ArgumentParser(description="Coverage of the ETA's quantiles under drift, with its costs.")
    parser.add_argument("--orders", type=int, nargs="*", default=[1_000, 3_000], help="simulated orders a week")
    options = parser.parse_args(arguments)
    for orders in options.orders:
        for line in drift_lines(orders):
            print(line, flush=True)
    folder = Path(os.environ.get("RIDELOG_GPS_DATA", ""))
    if os.environ.get("RIDELOG_GPS_DATA") and (folder / PINGS).exists():
        for line in trip_lines(collect(folder)):
            print(line, flush=True)
    else:
        print(f"RIDELOG_GPS_DATA does not name a folder with {PINGS}: the taxis are left out\n")
    for line in cost_lines():
        print(line)
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
