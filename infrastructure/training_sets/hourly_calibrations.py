"""The online calibration of many hours at once: the bits of ``calibration_at``, each hour of outcomes read once.

The calibration of an hour is the recurrence over the 28 days before it, begun at their first hour. So each hour of
outcomes is part of 672 windows. Here the states of all windows are columns, which one step moves by the same counts.
Only + − × ÷ and comparisons of binary64 are used, in the order of ``domain.features.calibration.recurrence``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.features.calibration.adjustment import ALL, Calibration, Cell, Thresholds
from domain.features.calibration.online import WINDOW_HOURS
from domain.features.calibration.recurrence import (
    BORROWED_OUTCOMES,
    GAINS,
    LEVEL_GAINS,
    LEVELS,
    MAX_CITIES,
    MAX_LEVEL_CHANGE,
    START_GAIN,
    START_OUTCOMES,
    VOLUME_DECAY,
    HourCounts,
    cities_of,
    of_cities,
)
from domain.features.calibration.scores import BINS, EDGES, P50_SCORE, P90_SCORE

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAX_WINDOWS: Final = WINDOW_HOURS
"""Columns at once: with 500 cells their states have some 30 MB."""

_EDGES: Final = np.array(EDGES, dtype=np.float64)
_LOW: Final = np.concatenate((_EDGES[:1], _EDGES))
_WIDTH: Final = np.concatenate(([1.0], np.diff(_EDGES), [1.0]))
"""Of each bin. The first and the last have no width: no part of their scores counts as below a threshold in them."""
_START: Final = np.array([[float(P50_SCORE)], [float(P90_SCORE)]])
_LEVELS: Final = np.array(LEVELS)[:, None]
_OF_OUTCOME: Final = np.array([gains.outcome for gains in GAINS])[:, None]
_OF_HOUR: Final = np.array([gains.hour for gains in GAINS])[:, None]


class _Window(NamedTuple):
    """The hours of outcomes that count at ``hour``: numbers ``first`` to ``end``, without ``end``.

    ``cities``: those that have cells of their own; None: every city.
    """

    hour: int
    first: int
    end: int
    cities: frozenset[str] | None


def calibrations(hours: Mapping[int, HourCounts], asked: Collection[int]) -> Iterator[tuple[int, Calibration]]:
    """Each asked hour with its calibration, ascending. ``hours``: all counts by hour since the epoch."""
    order = sorted(hours)
    counts = [hours[hour] for hour in order]
    few = len({city for one in counts for _, city in one} - {ALL}) <= MAX_CITIES
    windows = []
    for hour in sorted(asked):
        first, end = bisect_left(order, hour - WINDOW_HOURS), bisect_left(order, hour)
        cities = None if few else cities_of(counts[first:end])
        windows.append(_Window(hour, first, end, cities))
    for cities, same in groupby(windows, key=lambda window: window.cities):
        group = list(same)
        for at in range(0, len(group), MAX_WINDOWS):
            yield from _calibrations(counts, group[at : at + MAX_WINDOWS], cities)


def _calibrations(
    counts: Sequence[HourCounts], windows: Sequence[_Window], cities: frozenset[str] | None
) -> Iterator[tuple[int, Calibration]]:
    """``windows`` by hour, all with the same ``cities``."""
    first, end = windows[0].first, windows[-1].end
    read = [one if cities is None else of_cities(one, cities) for one in counts[first:end]]
    cells = _Cells({cell for one in read for cell in one}, len(windows))
    firsts, ends = np.array([window.first for window in windows]), np.array([window.end for window in windows])
    for number, one in enumerate(read, first):
        # Both ends of a window grow with its hour, so the windows that have this hour are neighbours.
        having = slice(int(np.searchsorted(ends, number, "right")), int(np.searchsorted(firsts, number, "right")))
        if having.start < having.stop:
            cells.add_hour(one, having)
    for window, thresholds in zip(windows, cells.thresholds(), strict=True):
        yield window.hour, Calibration(thresholds)


class _Cells:
    """The states of all cells in all windows: one level for everything, one for the legs, one for legs and cities."""

    def __init__(self, cells: set[Cell], windows: int) -> None:
        self._legs = sorted({leg for leg, _ in cells})
        self._finest = sorted(cell for cell in cells if cell[1] != ALL)
        self._leg_number = {leg: number for number, leg in enumerate(self._legs)}
        self._number = {cell: number for number, cell in enumerate(self._finest)}
        self._states = tuple(_States(size, windows) for size in (1, len(self._legs), len(self._finest)))
        self._windows = windows

    def add_hour(self, counts: HourCounts, having: slice) -> None:
        """Move the windows ``having`` the hour by its counts, coarse cells before fine ones."""
        of_leg = np.zeros((len(self._legs), BINS))
        finest = []
        for cell, bins in counts.items():
            if any(bins):
                of_leg[self._leg_number[cell[0]]] += bins
                if cell[1] != ALL:
                    finest.append((self._number[cell], self._leg_number[cell[0]], bins))
        legs = np.flatnonzero(of_leg.any(axis=1))
        if not len(legs):
            return
        everything, by_leg, by_city = self._states
        start = np.broadcast_to(_START, (1, 2, having.stop - having.start))
        at = everything.move(np.zeros(1, dtype=np.int64), having, start, of_leg.sum(axis=0)[None, :])
        at_legs = np.empty((len(self._legs), *at.shape[1:]))
        at_legs[legs] = by_leg.move(legs, having, np.broadcast_to(at, (len(legs), *at.shape[1:])), of_leg[legs])
        if finest:
            numbers, parents = (np.array([one[n] for one in finest]) for n in (0, 1))
            bins_of = np.array([one[2] for one in finest], dtype=np.float64)
            by_city.move(numbers, having, at_legs[parents], bins_of)

    def thresholds(self) -> Iterator[dict[Cell, Thresholds]]:
        """The thresholds of each window, of the cells that have outcomes in it."""
        everything, by_leg, by_city = self._states
        of_all = everything.thresholds
        of_legs = by_leg.followed(np.broadcast_to(of_all, by_leg.thresholds.shape))
        parents = np.array([self._leg_number[leg] for leg, _ in self._finest], dtype=np.int64)
        of_cities_ = by_city.followed(of_legs[parents])
        names: list[Cell] = [(ALL, ALL), *((leg, ALL) for leg in self._legs), *self._finest]
        found = np.rint(np.concatenate((of_all, of_legs, of_cities_))).astype(np.int64)
        known = np.concatenate([states.outcomes for states in self._states]) > 0.0
        for column in range(self._windows):
            at = np.flatnonzero(known[:, column]).tolist()
            pairs = found[at, :, column].tolist()
            yield {names[n]: Thresholds(p50, max(p50, p90)) for n, (p50, p90) in zip(at, pairs, strict=True)}


class _States:
    """The cells of one level by window, as ``recurrence._Tracked``: cells are the first axis, windows the last."""

    def __init__(self, cells: int, windows: int) -> None:
        self.thresholds = np.zeros((cells, 2, windows))
        self.outcomes = np.zeros((cells, windows))
        """0: no outcome yet, so the cell has no state in this window."""
        self._base = np.zeros((cells, 2, windows))
        self._served = np.zeros((cells, 2, windows))
        self._aims = np.zeros((cells, 2, windows))
        self._volume = np.zeros((cells, windows))
        self._squares = np.zeros((cells, windows))

    def followed(self, of_parent: Floats) -> Floats:
        """All thresholds, moved along with those of the coarser cells."""
        return _followed(self.thresholds, self._base, self.outcomes, of_parent)

    def move(self, cells: Integers, having: slice, base: Floats, bins: Floats) -> Floats:
        """Move the cells by the scores of an hour. Returns where they were before, with the coarser cell's movement.

        ``base``: the thresholds of their coarser cells before that hour.
        """
        count = bins.sum(axis=1)[:, None]
        below = np.concatenate((np.zeros((len(cells), 1)), np.cumsum(bins, axis=1)[:, :-1]), axis=1)
        inside = bins.copy()
        inside[:, [0, -1]] = 0.0
        held = self.outcomes[cells, having]
        is_known = (held > 0.0)[:, None, :]
        followed = _followed(self.thresholds[cells, :, having], self._base[cells, :, having], held, base)
        at = np.where(is_known, followed, base)
        served = np.where(is_known, self._served[cells, :, having], at)
        outcomes = held + count
        volume = self._volume[cells, having] * VOLUME_DECAY + count
        squares = self._squares[cells, having] * VOLUME_DECAY + count * count
        usual = volume / squares
        level_step = _step(LEVEL_GAINS.outcome, LEVEL_GAINS.hour, count, usual)[:, None, :]
        start = (START_GAIN / (START_OUTCOMES + outcomes))[:, None, :]
        shares = [_share_up_to(below, inside, count, thresholds) for thresholds in (served, at)]
        aims = self._aims[cells, :, having] + level_step * (_LEVELS - shares[0])
        aims = aims.clip(-MAX_LEVEL_CHANGE, MAX_LEVEL_CHANGE)
        step = 1_000.0 * _step(np.maximum(_OF_OUTCOME, start), _OF_HOUR, count[:, None, :], usual[:, None, :])
        self.thresholds[cells, :, having] = _bounded(at + step * (_LEVELS + aims - shares[1]))
        self.outcomes[cells, having], self._volume[cells, having] = outcomes, volume
        self._squares[cells, having] = squares
        self._base[cells, :, having], self._served[cells, :, having] = base, at
        self._aims[cells, :, having] = aims
        return at


def _followed(thresholds: Floats, base: Floats, outcomes: Floats, of_parent: Floats) -> Floats:
    follows = (BORROWED_OUTCOMES / (BORROWED_OUTCOMES + outcomes))[:, None, :]
    return _bounded(thresholds + follows * (of_parent - base))


def _share_up_to(below: Floats, inside: Floats, count: Floats, thresholds: Floats) -> Floats:
    """``recurrence.share_up_to`` of each threshold. ``below``: of each bin, the scores in the bins before it."""
    number = np.searchsorted(_EDGES, thresholds, "right")
    cells = np.arange(len(thresholds))[:, None, None]
    part = inside[cells, number] * ((thresholds - _LOW[number]) / _WIDTH[number])
    shares: Floats = (below[cells, number] + part) / count[:, None, :]
    return shares


def _step(of_outcome: Floats | float, of_hour: Floats | float, count: Floats, usual: Floats) -> Floats:
    step: Floats = np.minimum(count * np.minimum(of_outcome, of_hour * usual), 2.0 * of_hour)
    return step


def _bounded(thresholds: Floats) -> Floats:
    return thresholds.clip(float(EDGES[0]), float(EDGES[-1]))
