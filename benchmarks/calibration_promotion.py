"""How long the scores of the model before mislead after a promotion: python -m benchmarks.calibration_promotion.

The old model is 12 % too early and too sure, and its calibration has corrected that for four weeks. The new one needs
no correction. *Kept*: the thresholds go on from those of the old model, as they are served. *Fresh*: they start at
those of the new model, as if scores belonged to a model. Coverage by day after the promotion, over some seeds.
docs/eta.md has the results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from benchmarks.calibration_drift import DELAY_H, METHODS, WEEK_H, Method, hours_of
from domain.features.calibration.scores import BINS, bin_of

WEEKS_BEFORE = 4
DAYS_AFTER = 7
SEEDS = 8
ORDERS_A_WEEK = (1_000, 3_000, 20_000)


class DayCoverage(NamedTuple):
    """Of the orders that end on one day after the promotion: how many, and how many at most P50 and P90."""

    orders: int = 0
    at_most_p50: int = 0
    at_most_p90: int = 0

    def plus(self, other: DayCoverage) -> DayCoverage:
        return DayCoverage(*(a + b for a, b in zip(self, other, strict=True)))


def hours_with_promotion(orders_a_week: int, seed: int) -> Iterator[list[int]]:
    """Scores of each hour: of the old model for four weeks, then of the new one for a week."""
    yield from islice(hours_of("biased", orders_a_week, seed), WEEKS_BEFORE * WEEK_H)
    yield from islice(hours_of("none", orders_a_week, seed), DAYS_AFTER * 24)


def days_after(hours: Sequence[Sequence[int]], *, fresh: bool) -> list[DayCoverage]:
    """The coverage of each day after the promotion."""
    method: Method = METHODS["served"]()
    waiting = deque([method.thresholds()] * DELAY_H, maxlen=DELAY_H)
    found = [DayCoverage() for _ in range(DAYS_AFTER)]
    promotion = WEEKS_BEFORE * WEEK_H
    for hour, scores in enumerate(hours):
        if fresh and hour == promotion:
            method = METHODS["served"]()
            waiting = deque([method.thresholds()] * DELAY_H, maxlen=DELAY_H)
        p50, p90 = waiting[0]
        if hour >= promotion:
            of_hour = DayCoverage(len(scores), sum(one <= p50 for one in scores), sum(one <= p90 for one in scores))
            day = (hour - promotion) // 24
            found[day] = found[day].plus(of_hour)
        bins = [0] * BINS
        for each in scores:
            bins[bin_of(each)] += 1
        method.add_hour(bins)
        waiting.append(method.thresholds())
    return found


def lines(orders_a_week: int, seeds: int = SEEDS) -> Iterator[str]:
    """A table by day."""
    yield f"{orders_a_week:,} orders a week, {seeds} seeds: share at most P50, P90, by day after the promotion"
    for name, fresh in (("kept", False), ("fresh", True)):
        days = [DayCoverage() for _ in range(DAYS_AFTER)]
        for seed in range(seeds):
            found = days_after(list(hours_with_promotion(orders_a_week, seed)), fresh=fresh)
            days = [a.plus(b) for a, b in zip(days, found, strict=True)]
        shares = (f"{one.at_most_p50 / one.orders:6.1%} {one.at_most_p90 / one.orders:6.1%}" for one in days)
        yield f"  {name:6}" + " |".join(shares)


def main() -> None:
    for orders in ORDERS_A_WEEK:
        for line in lines(orders):
            print(line, flush=True)


if __name__ == "__main__":
    main()
