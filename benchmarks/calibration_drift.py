"""Simulated orders whose truth drifts away from the model, and calibrations that follow it: those tried, and ours."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import exp, log, pi, sin, sqrt
from random import Random
from typing import NamedTuple, Protocol

from domain.features.calibration.recurrence import LEVELS, Recurrence, share_up_to
from domain.features.calibration.scores import BINS, EDGES, P50_SCORE, P90_SCORE, bin_of

WEEKS = 10
WEEK_H = 168
DELAY_H = 2
"""An order takes an hour, and its hour must end: so an answer has the calibration of two hours before its end."""
CELL = ("unassigned", "")
DRIFTS = ("none", "biased", "slower", "season", "weekends", "evenings", "wider", "days", "storm")


class Drift(NamedTuple):
    """How the truths of one hour differ from the model: ln of a factor, and their spread in ln. The model's is 0.28."""

    log_factor: float
    spread: float = 0.28


def drift_of(kind: str, hour: int) -> Drift:
    """The drift in an hour of the run.

    From the third day of week 6 on, ``slower``: 30 % longer; ``wider``: less certain; ``storm``: twice as long, for
    three days.
    """
    changed = hour >= 5 * WEEK_H + 60
    if kind == "biased":
        return Drift(0.12, 0.4)
    if kind == "wider":
        return Drift(0.0, 0.45 if changed else 0.28)
    factors = {
        "none": 0.0,
        "slower": log(1.3) if changed else 0.0,
        "season": 0.2 * sin(2 * pi * hour / (8 * WEEK_H)),
        "weekends": 0.12 * (hour // 24 % 7 >= 5),
        "evenings": 0.1 * sin(2 * pi * (hour % 24) / 24),
        "storm": log(2.0) if changed and hour < 5 * WEEK_H + 60 + 72 else 0.0,
        "days": Random(f"day {hour // 24}").gauss(0.0, 0.12),
    }
    return Drift(factors[kind])


def hours_of(kind: str, orders_a_week: int, seed: int = 1) -> Iterator[list[int]]:
    """The scores of the orders that are completed in each hour; lunch and evening are busy."""
    chance = Random(f"{kind} {orders_a_week} {seed}")
    shape = [exp(-(((h - 12.5) / 1.8) ** 2)) + 1.6 * exp(-(((h - 19) / 2.0) ** 2)) + 0.02 for h in range(24)]
    for hour in range(WEEKS * WEEK_H):
        expected = orders_a_week / 7 * shape[hour % 24] / sum(shape)
        count = max(0, round(chance.gauss(expected, sqrt(expected))))
        log_factor, spread = drift_of(kind, hour)
        ratios = [exp(log_factor + chance.gauss(0.0, spread)) for _ in range(count)]
        yield [int((ratio - 1.0) * 1_000 / (exp(1.2816 * 0.28) - 1.0) // 1) for ratio in ratios]


class Method(Protocol):
    """Gives the thresholds of P50 and P90 after the hours that it was given."""

    def add_hour(self, bins: Sequence[int]) -> None: ...
    def thresholds(self) -> tuple[float, float]: ...


class Uncalibrated:
    def add_hour(self, bins: Sequence[int]) -> None:
        """Learns nothing."""

    def thresholds(self) -> tuple[float, float]:
        return float(P50_SCORE), float(P90_SCORE)


class Window:
    """The quantiles of the scores of the last ``hours`` hours: split conformal prediction on a window that moves."""

    def __init__(self, hours: int) -> None:
        self._left: deque[Sequence[int]] = deque(maxlen=hours)
        self._sums = [0] * BINS

    def add_hour(self, bins: Sequence[int]) -> None:
        gone = self._left[0] if len(self._left) == self._left.maxlen else (0,) * BINS
        self._left.append(bins)
        self._sums = [held + new - old for held, new, old in zip(self._sums, bins, gone, strict=True)]

    def thresholds(self) -> tuple[float, float]:
        p50, p90 = (self.quantile(level) for level in LEVELS)
        return p50, p90

    def quantile(self, level: float) -> float:
        total = sum(self._sums)
        low, high = float(EDGES[0]), float(EDGES[-1])
        for _ in range(24 if total else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if share_up_to(self._sums, total, middle) < level else (low, middle)
        return low if total else float(P50_SCORE if level == LEVELS[0] else P90_SCORE)


class AdaptiveLevel(Window):
    """Adaptive conformal inference as published: the level of the quantile moves by ``gamma`` an outcome."""

    def __init__(self, hours: int, gamma: float) -> None:
        super().__init__(hours)
        self._gamma = gamma
        self._levels = list(LEVELS)

    def add_hour(self, bins: Sequence[int]) -> None:
        count = sum(bins)
        for number, (level, threshold) in enumerate(zip(LEVELS, self.thresholds(), strict=True)):
            error = level - share_up_to(bins, count, threshold) if count else 0.0
            moved = self._levels[number] + min(self._gamma * count, 0.5) * error
            self._levels[number] = min(max(moved, 0.001), 0.999)
        super().add_hour(bins)

    def thresholds(self) -> tuple[float, float]:
        p50, p90 = (self.quantile(level) for level in self._levels)
        return p50, max(p50, p90)


class Tracker:
    """The recurrence that is served."""

    def __init__(self) -> None:
        self._recurrence = Recurrence()

    def add_hour(self, bins: Sequence[int]) -> None:
        self._recurrence.add_hour({CELL: bins})

    def thresholds(self) -> tuple[float, float]:
        p50, p90 = self._recurrence.calibration().of(*CELL)
        return p50, p90


METHODS: dict[str, Callable[[], Method]] = {
    "not calibrated": Uncalibrated,
    "window of 28 days": lambda: Window(28 * 24),
    "window of 3 days": lambda: Window(3 * 24),
    "adaptive level, 7 days": lambda: AdaptiveLevel(7 * 24, 0.005),
    "served": Tracker,
}


class Coverage(NamedTuple):
    """Of the weeks after the first. ``over_all``: shares at most P50 and P90. ``worst``: of a week, in standard errors.

    ``loss``: mean pinball loss at both levels, in spreads.
    """

    over_all: tuple[float, float]
    worst: float
    weeks_beyond_3: int
    loss: float


def coverage(hours: Sequence[Sequence[int]], method: Method) -> Coverage:
    """What a method covers of the scores, hour by hour."""
    waiting = deque([method.thresholds()] * DELAY_H, maxlen=DELAY_H)
    orders = [0] * WEEKS
    covered = [[0, 0] for _ in range(WEEKS)]
    loss = 0.0
    for hour, scores in enumerate(hours):
        week, at = hour // WEEK_H, waiting[0]
        orders[week] += len(scores)
        for number, (level, threshold) in enumerate(zip(LEVELS, at, strict=True)):
            covered[week][number] += sum(each <= threshold for each in scores)
            if week:
                loss += sum(max(level * (each - threshold), (level - 1) * (each - threshold)) for each in scores)
        bins = [0] * BINS
        for each in scores:
            bins[bin_of(each)] += 1
        method.add_hour(bins)
        waiting.append(method.thresholds())
    found = [
        abs(covered[week][number] / orders[week] - level) / sqrt(level * (1 - level) / orders[week])
        for week in range(1, WEEKS)
        for number, level in enumerate(LEVELS)
    ]
    total = sum(orders[1:])
    p50, p90 = (sum(each[number] for each in covered[1:]) / total for number in range(2))
    return Coverage((p50, p90), max(found), sum(each > 3.0 for each in found), loss / total / 1_000)
