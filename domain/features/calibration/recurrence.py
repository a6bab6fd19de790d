"""The recurrence that follows the quantiles of the scores hour by hour. Pure: + − × ÷ alone, so it is exact anywhere.

After each hour a threshold q of the level τ moves by k · g · (τ − share of the hour's k scores that are at most q). So
its errors add up to its own movement, and the coverage of any longer time is τ, whatever the traffic does: adaptive
conformal inference (I. Gibbs, E. Candès, "Adaptive Conformal Inference Under Distribution Shift", NeurIPS 2021) in the
form of the quantile tracker (A. Angelopoulos, E. Candès, R. Tibshirani, "Conformal PID Control for Time Series
Prediction", NeurIPS 2023). docs/eta.md has the alternatives that were measured.

g is the same for every order of busy and of quiet hours: otherwise hours, and not orders, would have the coverage. It
is lower where an hour has many outcomes, so that one hour never moves a threshold past its goal. It is higher at the
beginning, as 1 ÷ outcomes (H. Robbins, S. Monro, "A Stochastic Approximation Method", 1951).

Answers of an hour were given before it, with the thresholds of an hour earlier. Where that matters, as in evenings that
are always slower, the level that the hours are held to (the aim) is corrected, slowly, by the coverage of those.

A cell of few outcomes starts where the next coarser cell is, and moves with it, less with each outcome of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Final, NamedTuple

from domain.features.calibration.adjustment import ALL, Calibration, Cell, Thresholds, parent_of
from domain.features.calibration.scores import BINS, EDGES, P50_SCORE, P90_SCORE


class _Gains(NamedTuple):
    """Spreads (``scores.spread_ms``) that a threshold moves by, times its error: an outcome's, and a usual hour's.

    The second bounds the first times the outcomes of a usual hour; it is below the inverse density of the scores there.
    """

    outcome: float
    hour: float


LEVELS: Final = (0.5, 0.9)
LEVEL_GAINS: Final = _Gains(0.0005, 0.01)
"""How far an outcome, and a usual hour, moves the aim: the level that the hours are held to, times its error."""
MAX_LEVEL_CHANGE: Final = 0.05
"""Bounds how far an aim may be from its level."""
GAINS: Final = (_Gains(0.06, 1.5), _Gains(0.1, 4.0))
START_GAIN: Final = 4.0
START_OUTCOMES: Final = 20
"""The gain of the first outcomes is START_GAIN ÷ (START_OUTCOMES + outcomes so far), if that is more."""
VOLUME_DECAY: Final = 0.95
"""A usual hour is that of an average outcome of about the last twenty hours with outcomes."""
BORROWED_OUTCOMES: Final = 100
"""With so many outcomes a cell follows the coarser cell half as far as it moves."""
MAX_CITIES: Final = 100
"""Cities with cells of their own, those with the most outcomes; the others have the cells of their legs."""

HourCounts = Mapping[Cell, Sequence[int]]
"""Counts by bin of the outcomes of one hour, by leg and city; the city ALL has the orders without a city."""


class _Tracked(NamedTuple):
    """One cell: its thresholds, in scores, and ``base``: those of the coarser cell when they last moved.

    ``served``: the thresholds before that. ``aims``: by threshold, how far its aim is from its level.
    """

    p50: float
    p90: float
    base: tuple[float, float]
    served: tuple[float, float]
    aims: tuple[float, float] = (0.0, 0.0)
    outcomes: int = 0
    volume: float = 0.0
    squares: float = 0.0


_START: Final = (float(P50_SCORE), float(P90_SCORE))


class Recurrence:
    """The thresholds of all cells, as of the hours that were added. ``copy`` is cheap."""

    def __init__(self) -> None:
        self._cells: dict[Cell, _Tracked] = {}

    def copy(self) -> Recurrence:
        other = Recurrence()
        other._cells = dict(self._cells)
        return other

    def add_hour(self, counts: HourCounts) -> None:
        """Move the thresholds by the outcomes of the next hour. The order of ``counts`` changes nothing."""
        before: dict[Cell | None, tuple[float, float]] = {None: _START}
        for cell, bins in _with_coarser(counts).items():
            base, tracked = before[parent_of(cell)], self._cells.get(cell)
            at = before[cell] = base if tracked is None else _followed(tracked, base)
            self._cells[cell] = _moved(tracked, at, base, bins)

    def calibration(self) -> Calibration:
        """The thresholds of all cells that have outcomes, in whole thousandths."""
        found = {}
        for cell in self._cells:
            p50, p90 = map(round, self._of(cell))
            found[cell] = Thresholds(p50, max(p50, p90))
        return Calibration(found)

    def _of(self, cell: Cell) -> tuple[float, float]:
        parent = parent_of(cell)
        of_parent = _START if parent is None else self._of(parent)
        tracked = self._cells.get(cell)
        return of_parent if tracked is None else _followed(tracked, of_parent)


def calibrate(hours: Iterable[HourCounts]) -> Calibration:
    """The calibration after these hours, oldest first. An hour without outcomes may be left out."""
    recurrence = Recurrence()
    found = list(hours)
    cities = cities_of(found)
    for counts in found:
        recurrence.add_hour(of_cities(counts, cities))
    return recurrence.calibration()


def cities_of(hours: Iterable[HourCounts]) -> frozenset[str]:
    """The MAX_CITIES cities with the most outcomes; of equal ones, the first by name."""
    found = list(hours)
    names = {city for counts in found for _, city in counts} - {ALL}
    if len(names) <= MAX_CITIES:
        return frozenset(names)
    outcomes = dict.fromkeys(names | {ALL}, 0)
    for counts in found:
        for (_, city), bins in counts.items():
            outcomes[city] += sum(bins)
    del outcomes[ALL]
    return frozenset(sorted(outcomes, key=lambda city: (-outcomes[city], city))[:MAX_CITIES])


def of_cities(counts: HourCounts, cities: frozenset[str]) -> HourCounts:
    """The counts, with those of cities without cells of their own under ALL."""
    if all(city in cities for _, city in counts):
        return counts
    found: dict[Cell, Sequence[int]] = {}
    for (leg, city), bins in counts.items():
        _add(found, (leg, city if city in cities else ALL), bins)
    return found


def share_up_to(bins: Sequence[int], total: int, threshold: float) -> float:
    """The share of ``total`` scores that are at most ``threshold``; within a bin they count as evenly spread."""
    number = bisect_right(EDGES, threshold)
    below = float(sum(bins[:number]))
    if 0 < number < len(EDGES):
        low, high = EDGES[number - 1], EDGES[number]
        below += bins[number] * ((threshold - low) / (high - low))
    return below / total


def _with_coarser(counts: HourCounts) -> dict[Cell, Sequence[int]]:
    """The counts of every cell, the coarser ones included, coarse before fine."""
    finest: dict[Cell, Sequence[int]] = {}
    legs: dict[Cell, Sequence[int]] = {}
    all_: dict[Cell, Sequence[int]] = {}
    for cell, bins in counts.items():
        if len(bins) != BINS:
            raise ValueError(f"{len(bins)} bins of scores: {BINS} are counted")
        if any(bins):
            if cell[1] != ALL:
                finest[cell] = bins
            _add(legs, (cell[0], ALL), bins)
    for bins in legs.values():
        _add(all_, (ALL, ALL), bins)
    return all_ | legs | finest


def _add(sums: dict[Cell, Sequence[int]], cell: Cell, bins: Sequence[int]) -> None:
    held = sums.get(cell)
    sums[cell] = bins if held is None else list(map(add, held, bins))


def _followed(tracked: _Tracked, of_parent: tuple[float, float]) -> tuple[float, float]:
    """The thresholds of a cell, moved along with those of the coarser cell."""
    if of_parent == tracked.base:
        return tracked.p50, tracked.p90
    follows = BORROWED_OUTCOMES / (BORROWED_OUTCOMES + tracked.outcomes)
    return (
        _bounded(tracked.p50 + follows * (of_parent[0] - tracked.base[0])),
        _bounded(tracked.p90 + follows * (of_parent[1] - tracked.base[1])),
    )


def _moved(
    tracked: _Tracked | None, at: tuple[float, float], base: tuple[float, float], bins: Sequence[int]
) -> _Tracked:
    count = sum(bins)
    held = tracked or _Tracked(*at, base, at)
    outcomes = held.outcomes + count
    volume = held.volume * VOLUME_DECAY + count
    squares = held.squares * VOLUME_DECAY + count * count
    usual = volume / squares
    level_step = _step(LEVEL_GAINS, LEVEL_GAINS.outcome, count, usual)
    start = START_GAIN / (START_OUTCOMES + outcomes)
    moved: list[float] = []
    aims: list[float] = []
    for threshold, served, aim, level, gains in zip(at, held.served, held.aims, LEVELS, GAINS, strict=True):
        aim += level_step * (level - share_up_to(bins, count, served))
        aim = min(max(aim, -MAX_LEVEL_CHANGE), MAX_LEVEL_CHANGE)
        step = 1_000.0 * _step(gains, max(gains.outcome, start), count, usual)
        moved.append(_bounded(threshold + step * (level + aim - share_up_to(bins, count, threshold))))
        aims.append(aim)
    return _Tracked(moved[0], moved[1], base, at, (aims[0], aims[1]), outcomes, volume, squares)


def _step(gains: _Gains, of_outcome: float, count: int, usual: float) -> float:
    """How far the hour moves a value, times its error. ``usual``: 1 ÷ the outcomes of a usual hour."""
    return min(count * min(of_outcome, gains.hour * usual), 2.0 * gains.hour)


def _bounded(threshold: float) -> float:
    return min(max(threshold, float(EDGES[0])), float(EDGES[-1]))
