"""The error of the ETA in the simulated city: python -m benchmarks.eta_simulator.

By leg, the baseline beside the best constant of that leg; the worth of each feature, by leaving it out; and how many of
the jumps between two answers a reason is named for. The city is the simulator's own, so this says how the parts of
the formula work together, not how well its assumptions fit a real city. docs/eta.md has the results.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from benchmarks.eta_leave_out import WITHOUT_OF_ORDERS
from benchmarks.eta_simulated_walk import SimulatedSample, walk_simulated
from domain.features.eta.baseline import EtaModel
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.scenario import PhoneModel, Scenario

EVERY_S = 10.0
START_MS = 1_700_035_200_000
"""2023-11-15 08:00 UTC: the run has a lunch."""

LEGS = ("unassigned", "to_restaurant", "at_restaurant", "to_customer", "at_customer")


class LegErrors(NamedTuple):
    """Seconds, estimate − truth; shares of 1. ``constant``: the MAE of the median of these very samples."""

    samples: int
    mae: float
    constant: float
    median: float
    bias: float
    within_p50: float
    within_p90: float


class Jumps(NamedTuple):
    """Pairs of answers of one order, EVERY_S apart, that differ by more than the first says; and how many are named."""

    pairs: int
    jumps: int
    named: int
    codes: Counter[str]

    @property
    def named_share(self) -> float:
        """1 without a jump."""
        return self.named / self.jumps if self.jumps else 1.0


def scenario(seed: int, riders: int, hours: float, orders: float = 2.0) -> Scenario:
    """``orders`` an hour and rider at a steady rate; with two, as ``demo`` has it, a rider is nearly always free."""
    return Scenario(
        str(seed),
        START_MS,
        hours * 3_600.0,
        riders,
        phone=PhoneModel(every_s=5.0),
        demand=Demand(orders * riders, max(1, riders // 2)),
    )


def predicted(model: EtaModel, samples: Sequence[SimulatedSample]) -> list[EtaQuantiles]:
    return [model.predict(sample.reading.features, sample.reading.way) for sample in samples]


def leg_errors(samples: Sequence[SimulatedSample], answers: Sequence[EtaQuantiles]) -> LegErrors:
    """Raises StatisticsError without samples."""
    truths, count = [sample.true_s for sample in samples], len(samples)
    signed = [answer.p50_s - true_s for answer, true_s in zip(answers, truths, strict=True)]
    best = median(truths)
    return LegErrors(
        count,
        sum(map(abs, signed)) / count,
        sum(abs(best - true_s) for true_s in truths) / count,
        median(signed),
        sum(signed) / count,
        sum(true_s <= answer.p50_s for answer, true_s in zip(answers, truths, strict=True)) / count,
        sum(true_s <= answer.p90_s for answer, true_s in zip(answers, truths, strict=True)) / count,
    )


def jumps(samples: Sequence[SimulatedSample], answers: Sequence[EtaQuantiles], every_s: float = EVERY_S) -> Jumps:
    """A jump: the hand-over instants of two answers differ by more than P90 − P50 of the first."""
    by_order: defaultdict[str, list[tuple[SimulatedSample, EtaQuantiles]]] = defaultdict(list)
    for sample, answer in zip(samples, answers, strict=True):
        by_order[sample.order_id].append((sample, answer))
    pairs = found = named = 0
    codes: Counter[str] = Counter()
    for of_order in by_order.values():
        for (first, before), (second, after) in pairwise(of_order):
            passed_s = (second.t_ms - first.t_ms) / 1_000.0
            if passed_s != every_s:
                continue
            pairs += 1
            if abs(passed_s + after.p50_s - before.p50_s) <= before.p90_s - before.p50_s:
                continue
            found += 1
            reasons: set[str] = {*first.reading.features.because, *second.reading.features.because}
            named += bool(reasons)
            codes.update(reasons or {"(none)"})
    return Jumps(pairs, found, named, codes)


def lines(samples: Sequence[SimulatedSample], model: EtaModel) -> Iterator[str]:
    answers = predicted(model, samples)
    yield f"{'':40}{'answers':>9}{'MAE':>8}{'constant':>10}{'median':>8}{'bias':>8}{'≤ P50':>8}{'≤ P90':>8}"
    yield _line("all", leg_errors(samples, answers))
    for leg in LEGS:
        chosen = [number for number, sample in enumerate(samples) if sample.reading.features.leg == leg]
        if chosen:
            yield _line(leg, leg_errors([samples[n] for n in chosen], [answers[n] for n in chosen]))
    yield ""
    yield "worth of a feature: the ETA when it is unknown"
    for name, change in WITHOUT_OF_ORDERS.items():
        changed = [sample._replace(reading=change(sample.reading)) for sample in samples]
        yield _line(f"  without {name}", leg_errors(samples, predicted(model, changed)))
    yield ""
    found = jumps(samples, answers)
    yield f"{found.pairs} pairs of answers {EVERY_S:g} s apart: {found.jumps} differ by more than P90 - P50 of the"
    yield f"first; {found.named_share:.1%} of those name a reason:"
    yield "  " + ", ".join(f"{code} {count}" for code, count in found.codes.most_common())


def _line(name: str, found: LegErrors) -> str:
    seconds = f"{found.mae:8.1f}{found.constant:10.1f}{found.median:8.1f}{found.bias:8.1f}"
    return f"{name:40}{found.samples:9}{seconds}{found.within_p50:8.1%}{found.within_p90:8.1%}"


def main(arguments: Sequence[str] = ()) -> int:
    """Walk the city and print the tables."""
    parser = argparse.ArgumentParser(description="The error of the ETA in the simulated city.")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--riders", type=int, default=20)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument(
        "--orders", type=float, default=2.0, help="an hour and rider; with 3 the city is short of riders"
    )
    options = parser.parse_args(arguments)
    samples = list(walk_simulated(scenario(options.seed, options.riders, options.hours, options.orders), EVERY_S))
    for line in lines(samples, packaged_baseline()):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
