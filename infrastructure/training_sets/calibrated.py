"""Runs the online calibration of serving over the rows of a training set, by the hours in which ends became known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain.features.calibration.adjustment import Cell
from domain.features.calibration.online import HOUR_MS
from domain.features.calibration.scores import BINS, bin_of, score
from domain.features.eta.learned.model import MEDIAN, P90
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.training_sets.eta_scores import Answers
from infrastructure.training_sets.hourly_calibrations import calibrations
from infrastructure.training_sets.model_rows import LEGS, ModelRows

Floats = NDArray[np.float64]


def calibrated(rows: ModelRows, answers: Answers, known_ms: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Answers:
    """The answers of the chosen rows with P50 and P90 as serving would have adjusted them; other quantiles move along.

    ``known_ms``: when the end of a row's order became known. As in serving, the first answer of each leg of an order is
    an outcome, of the chosen and of all other rows, and an answer is adjusted by the outcomes of the hours before it.
    """
    assert answers.p90_s is not None
    hours = (rows.at_ms // HOUR_MS).tolist()
    by_hour: dict[int, list[int]] = {}
    for n in np.flatnonzero(chosen).tolist():
        by_hour.setdefault(hours[n], []).append(n)
    p50_s, p90_s = answers.p50_s.tolist(), answers.p90_s.tolist()
    cities, legs = rows.city.tolist(), rows.leg.tolist()
    adjusted = np.empty((len(rows), 2))
    for hour, calibration in calibrations(_outcomes(rows, p50_s, p90_s, known_ms), by_hour):
        for n in by_hour[hour]:
            quantiles = EtaQuantiles(p50_s[n], p90_s[n])
            adjusted[n] = calibration.adjust(LEGS[legs[n]], rows.city_names[cities[n]], quantiles)
    p50, p90 = adjusted[chosen, 0], adjusted[chosen, 1]
    return Answers(p50, p90, None if answers.nine is None else _moved(answers.nine[chosen], p50, p90))


def _outcomes(
    rows: ModelRows, p50_s: Sequence[float], p90_s: Sequence[float], known_ms: NDArray[np.int64]
) -> dict[int, dict[Cell, list[int]]]:
    """The scores of the first answer of each leg, by the hour since the epoch in which the end became known."""
    found: dict[int, dict[Cell, list[int]]] = {}
    for n in first_of_each_leg(rows):
        cell = LEGS[rows.leg[n]], rows.city_names[rows.city[n]]
        bins = found.setdefault(int(known_ms[n]) // HOUR_MS, {}).setdefault(cell, [0] * BINS)
        p50_ms, p90_ms, truth_ms = (round(1_000 * seconds) for seconds in (p50_s[n], p90_s[n], float(rows.label_s[n])))
        bins[bin_of(score(p50_ms, p90_ms, truth_ms))] += 1
    return found


def first_of_each_leg(rows: ModelRows) -> Sequence[int]:
    """The indices of the earliest row of each leg of each order."""
    order = np.lexsort((rows.at_ms, rows.leg, rows.orders))
    legs = rows.orders[order] * len(LEGS) + rows.leg[order]
    first: list[int] = order[np.unique(legs, return_index=True)[1]].tolist()
    return first


def _moved(nine: Floats, p50: Floats, p90: Floats) -> Floats:
    """Quantiles below the median are scaled with it; those up to P90 keep their place between the two."""
    old_p50, old_p90 = nine[:, MEDIAN], nine[:, P90]
    scale = np.divide(p50, old_p50, out=np.ones_like(p50), where=old_p50 > 0.0)
    width = old_p90 - old_p50
    stretch = np.divide(p90 - p50, width, out=np.zeros_like(p50), where=width > 0.0)
    found = np.empty_like(nine)
    found[:, : MEDIAN + 1] = nine[:, : MEDIAN + 1] * scale[:, None]
    found[:, MEDIAN:] = p50[:, None] + (nine[:, MEDIAN:] - old_p50[:, None]) * stretch[:, None]
    found[:, MEDIAN], found[:, P90] = p50, p90
    return found
