"""How good ETAs are: errors, coverage, the loss of nine quantiles and the unrest of an order's answers."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.features.eta.learned.model import LEVELS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MINUTE_S: Final = 60.0


class Answers(NamedTuple):
    """What one model answers to the same rows, in seconds. ``nine``: rows by levels; None: it has only a median."""

    p50_s: Floats
    p90_s: Floats | None = None
    nine: Floats | None = None

    def of(self, chosen: NDArray[np.bool_] | Integers) -> Answers:
        p90, nine = self.p90_s, self.nine
        return Answers(self.p50_s[chosen], None if p90 is None else p90[chosen], None if nine is None else nine[chosen])


class EtaScores(msgspec.Struct, frozen=True):
    """Seconds, estimate − truth, and shares of 1. None: not defined for these answers.

    ``later_than_said``: the hand-over was later than the median. ``pinball_*``: mean loss of a quantile. ``crps_s``:
    twice the mean of it over the nine quantiles, which approximates the continuous ranked probability score.
    ``churn_s_per_minute``: how far the predicted hand-over moves in a minute of an order's life.
    """

    rows: int
    orders: int
    mae_s: float
    median_s: float
    p90_s: float
    bias_s: float
    within_2_min: float
    within_5_min: float
    later_than_said: float
    pinball_50_s: float
    pinball_90_s: float | None
    coverage_50: float
    coverage_90: float | None
    crps_s: float | None
    churn_s_per_minute: float | None


class Truth(NamedTuple):
    """What happened: seconds from ``at_ms`` until hand-over; ``orders``: a number for each order."""

    label_s: Floats
    at_ms: Integers
    orders: Integers


def scores(answers: Answers, truth: Truth) -> EtaScores:
    """Raises ValueError without rows."""
    label = truth.label_s
    if not len(label):
        raise ValueError("no row has a label, so no answer can be compared with what happened")
    error = answers.p50_s - label
    size = np.abs(error)
    nine = answers.nine
    return EtaScores(
        len(label),
        len(np.unique(truth.orders)),
        float(size.mean()),
        float(np.median(size)),
        float(np.quantile(size, 0.9)),
        float(error.mean()),
        float((size <= 2 * MINUTE_S).mean()),
        float((size <= 5 * MINUTE_S).mean()),
        float((label > answers.p50_s).mean()),
        pinball(answers.p50_s, label, 0.5),
        None if answers.p90_s is None else pinball(answers.p90_s, label, 0.9),
        float((label <= answers.p50_s).mean()),
        None if answers.p90_s is None else float((label <= answers.p90_s).mean()),
        None if nine is None else 2.0 * sum(pinball(nine[:, n], label, q) for n, q in enumerate(LEVELS)) / len(LEVELS),
        churn(answers.p50_s, truth),
    )


def pinball(quantile_s: Floats, label_s: Floats, level: float) -> float:
    """The mean loss that the quantile of this level minimises (Koenker and Bassett, 1978)."""
    left = label_s - quantile_s
    return float(np.maximum(level * left, (level - 1.0) * left).mean())


def churn(p50_s: Floats, truth: Truth) -> float | None:
    """Seconds that the predicted hand-over moves, a minute; None unless an order has two answers."""
    order = np.lexsort((truth.at_ms, truth.orders))
    orders, at_ms = truth.orders[order], truth.at_ms[order]
    instant_s = at_ms / 1_000.0 + p50_s[order]
    pairs = orders[1:] == orders[:-1]
    minutes = float((at_ms[1:] - at_ms[:-1])[pairs].sum()) / 60_000.0
    return float(np.abs(np.diff(instant_s))[pairs].sum()) / minutes if minutes > 0.0 else None


class GroupScores(msgspec.Struct, frozen=True):
    """The scores of the rows of one group, by the names of its dimensions."""

    group: dict[str, str]
    rows: int
    orders: int
    mae_s: float
    coverage_50: float
    coverage_90: float | None
    standard_error_50: float
    """Of the coverage, by order: orders are independent of each other, the answers of one order are not."""
    standard_error_90: float | None


def group_scores(answers: Answers, truth: Truth, names: dict[str, list[str]], keys: Integers) -> list[GroupScores]:
    """A line for each distinct row of ``keys``, whose columns are numbers into the lists of ``names``."""
    found, index = np.unique(keys, axis=0, return_inverse=True)
    lines = []
    for number, key in enumerate(found):
        chosen = index.reshape(-1) == number
        label, mine = truth.label_s[chosen], answers.of(chosen)
        orders = truth.orders[chosen]
        below_90 = None if mine.p90_s is None else label <= mine.p90_s
        group = {name: values[at] for (name, values), at in zip(names.items(), key, strict=True)}
        lines.append(
            GroupScores(
                group,
                len(label),
                len(np.unique(orders)),
                float(np.abs(mine.p50_s - label).mean()),
                float((label <= mine.p50_s).mean()),
                None if below_90 is None else float(below_90.mean()),
                clustered_error(label <= mine.p50_s, orders, 0.5),
                None if below_90 is None else clustered_error(below_90, orders, 0.9),
            )
        )
    return lines


def clustered_error(below: NDArray[np.bool_] | Floats, orders: Integers, level: float) -> float:
    """The standard error of a mean whose expectation is ``level``, where the rows of an order hang together."""
    _, index = np.unique(orders, return_inverse=True)
    sums = np.bincount(index.reshape(-1), weights=below - level)
    return float(np.sqrt((sums**2).sum()) / len(below))
