"""Judges a model of the ETA on the rows of a training set, beside the baseline, the promise and what was served."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.features.eta.baseline import Baseline
from domain.features.eta.learned.model import LEVELS, LearnedEta, log_base, quantiles_between
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.eta_models.batch_trees import TreeBatch
from infrastructure.eta_models.model_files import LazyTrees
from infrastructure.training_sets.eta_scores import Answers, EtaScores, GroupScores, Truth, group_scores, scores
from infrastructure.training_sets.model_rows import LEGS, ModelRows

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BANDS_M: Final = (1_000.0, 2_000.0, 5_000.0, 10_000.0)
BAND_NAMES: Final = ("below 1 km", "1 to 2 km", "2 to 5 km", "5 to 10 km", "10 km and more")
NOT_CALIBRATED: Final = "model, not calibrated"
"""What answered, in an evaluation whose model is calibrated as in serving."""
HOURS_A_BAND: Final = 3
HOUR_NAMES: Final = (*(f"{3 * n:02}:00 to {3 * n + 3:02}:00" for n in range(8)), "unknown")
_WEEK_MS: Final = 7 * 86_400_000
_MONDAY_MS: Final = 4 * 86_400_000
"""1970-01-05, a Monday."""


class Groups(msgspec.Struct, frozen=True):
    """Scores of the model by groups of rows. Hours are local; weeks are those of the answer, from Monday in UTC."""

    by_leg: list[GroupScores]
    by_hour: list[GroupScores]
    by_distance: list[GroupScores]
    by_week: list[GroupScores]
    by_leg_hour_distance: list[GroupScores]


class EtaEvaluation(msgspec.Struct, frozen=True):
    """``all``: scores by what answered. ``promised``: the same over the rows whose order has a promise, and of the
    promise itself; None if no order has one. ``outside_training``: the share of rows that the baseline answered.

    ``reliability``: of each level, the share of truths that are at most that quantile.
    """

    model: str
    digest: str
    by_order: bool
    all: dict[str, EtaScores]
    promised: dict[str, EtaScores] | None
    outside_training: float
    reliability: dict[str, dict[str, float]]
    groups: Groups


class JudgedAnswers(msgspec.Struct, frozen=True):
    """The answers of one model to all rows, and which of them were outside its training."""

    answers: Answers
    outside: NDArray[np.bool_]

    def of(self, chosen: NDArray[np.bool_]) -> JudgedAnswers:
        return JudgedAnswers(self.answers.of(chosen), self.outside[chosen])


def answers_of(model: LearnedEta | Baseline, rows: ModelRows) -> JudgedAnswers:
    """What ``predict`` of the model gives for each row."""
    if isinstance(model, Baseline):
        return JudgedAnswers(of_baseline(rows), np.zeros(len(rows), dtype=np.bool_))
    sums = [_sums(trees, rows) for trees in model.trees]
    p50, p90 = rows.baseline_p50_s.tolist(), rows.baseline_p90_s.tolist()
    promised = [None if np.isnan(left) else left for left in rows.promised_left_s.tolist()]
    outside = np.fromiter((model.is_outside(row.tolist()) for row in rows.inputs), np.bool_, len(rows))
    nine = np.empty((len(rows), len(LEVELS)))
    for n, of_row in enumerate(zip(*(one.tolist() for one in sums), strict=True)):
        if outside[n]:
            nine[n] = quantiles_between(EtaQuantiles(p50[n], p90[n]))
        else:
            nine[n] = model.quantiles(log_base(p50[n], promised[n], model.spec.promise_weight), of_row)
    return JudgedAnswers(Answers(nine[:, 4], nine[:, 8], nine), outside)


def of_baseline(rows: ModelRows) -> Answers:
    pairs = zip(rows.baseline_p50_s.tolist(), rows.baseline_p90_s.tolist(), strict=True)
    nine = np.array([quantiles_between(EtaQuantiles(*pair)) for pair in pairs]).reshape(len(rows), len(LEVELS))
    return Answers(rows.baseline_p50_s, rows.baseline_p90_s, nine)


def first_of_each_order(rows: ModelRows) -> Integers:
    """The indices of the earliest row of each order."""
    order = np.lexsort((rows.at_ms, rows.orders))
    _, first = np.unique(rows.orders[order], return_index=True)
    found: Integers = np.sort(order[first])
    return found


def evaluate(model: LearnedEta | Baseline, rows: ModelRows, *, by_order: bool) -> EtaEvaluation:
    """``by_order``: of each order only its earliest row. Raises ValueError without a row that has a label."""
    return evaluation_of(model, rows, answers_of(model, rows), by_order=by_order)


def evaluation_of(
    model: LearnedEta | Baseline,
    rows: ModelRows,
    judged: JudgedAnswers,
    *,
    by_order: bool,
    uncalibrated: Answers | None = None,
) -> EtaEvaluation:
    """As ``evaluate``, of answers that may have been calibrated; ``uncalibrated``: the same before that."""
    answers, outside = judged.answers, judged.outside
    if by_order:
        chosen = first_of_each_order(rows)
        rows, answers, outside = rows.of(chosen), answers.of(chosen), outside[chosen]
        uncalibrated = None if uncalibrated is None else uncalibrated.of(chosen)
    truth = Truth(rows.label_s, rows.at_ms, rows.orders)
    models = {"model": answers}
    if uncalibrated is not None:
        models[NOT_CALIBRATED] = uncalibrated
    models["baseline"] = of_baseline(rows)
    found = {name: scores(one, truth) for name, one in models.items()}
    served = ~np.isnan(rows.served_p50_s)
    if served.any():
        found["served"] = scores(Answers(rows.served_p50_s, rows.served_p90_s).of(served), _chosen(truth, served))
        found["model where served"] = scores(answers.of(served), _chosen(truth, served))
    promised = ~np.isnan(rows.promised_left_s)
    of_promised = None
    if promised.any():
        models["promise"] = Answers(rows.promised_left_s)
        of_promised = {name: scores(one.of(promised), _chosen(truth, promised)) for name, one in models.items()}
    reliability = {
        name: {f"{q:g}": float((truth.label_s <= one.nine[:, n]).mean()) for n, q in enumerate(LEVELS)}
        for name, one in models.items()
        if one.nine is not None
    }
    return EtaEvaluation(
        model.name,
        model.digest,
        by_order,
        found,
        of_promised,
        float(outside.mean()),
        reliability,
        _groups(rows, answers, truth),
    )


def _groups(rows: ModelRows, answers: Answers, truth: Truth) -> Groups:
    band = np.digitize(rows.distance_m, BANDS_M)
    hour = np.where(np.isnan(rows.hour), len(HOUR_NAMES) - 1, np.nan_to_num(rows.hour) // HOURS_A_BAND).astype(np.int64)
    week = (rows.at_ms - _MONDAY_MS) // _WEEK_MS
    weeks, week_number = np.unique(week, return_inverse=True)
    week_names = [_week_name(int(one)) for one in weeks]
    legs, hours, bands = list(LEGS), list(HOUR_NAMES), list(BAND_NAMES)

    def grouped(names: dict[str, list[str]], *columns: Integers) -> list[GroupScores]:
        return group_scores(answers, truth, names, np.column_stack(columns))

    return Groups(
        grouped({"leg": legs}, rows.leg),
        grouped({"hour": hours}, hour),
        grouped({"distance": bands}, band),
        grouped({"week": week_names}, week_number.reshape(-1)),
        grouped({"leg": legs, "hour": hours, "distance": bands}, rows.leg, hour, band),
    )


def _week_name(number: int) -> str:
    start = datetime.fromtimestamp(_MONDAY_MS / 1_000, UTC) + timedelta(weeks=number)
    return start.date().isoformat()


def _chosen(truth: Truth, mask: NDArray[np.bool_]) -> Truth:
    return Truth(truth.label_s[mask], truth.at_ms[mask], truth.orders[mask])


def _sums(trees: object, rows: ModelRows) -> Floats:
    assert isinstance(trees, LazyTrees)
    return TreeBatch(trees.trees).sums(rows.inputs)


def lines(found: EtaEvaluation) -> list[str]:
    """The evaluation as text."""
    unit = "the earliest answer of each order" if found.by_order else "every row"
    out = [f"{found.model} {found.digest[:12]}, {unit}; seconds, estimate − truth", _HEADER]
    out += [_line(name, one) for name, one in found.all.items()]
    if found.promised is not None:
        out += ["", "where the order has a promise", _HEADER]
        out += [_line(name, one) for name, one in found.promised.items()]
    if found.outside_training:
        out += ["", f"outside the training set, so answered by the baseline: {found.outside_training:.2%} of rows"]
    for title, groups in (
        ("by leg", found.groups.by_leg),
        ("by local hour", found.groups.by_hour),
        ("by distance", found.groups.by_distance),
        ("by week (UTC)", found.groups.by_week),
    ):
        out += ["", f"{title:24}{'rows':>10}{'orders':>9}{'MAE':>9}{'≤ P50':>9}{'≤ P90':>9}   standard errors"]
        out += [_group_line(one) for one in groups]
    return out


_HEADER = (
    f"{'':24}{'rows':>10}{'MAE':>9}{'median':>9}{'P90':>9}{'bias':>9}{'±2 min':>8}{'±5 min':>8}{'later':>8}"
    f"{'pin 50':>8}{'pin 90':>8}{'≤ P50':>8}{'≤ P90':>8}{'CRPS':>8}{'churn':>8}"
)


def _line(name: str, one: EtaScores) -> str:
    seconds = f"{one.mae_s:9.1f}{one.median_s:9.1f}{one.p90_s:9.1f}{one.bias_s:9.1f}"
    shares = f"{one.within_2_min:8.1%}{one.within_5_min:8.1%}{one.later_than_said:8.1%}"
    pinballs = f"{one.pinball_50_s:8.1f}{_or_dash(one.pinball_90_s, '8.1f')}"
    coverage = f"{one.coverage_50:8.1%}{_or_dash(one.coverage_90, '8.1%')}"
    rest = f"{_or_dash(one.crps_s, '8.1f')}{_or_dash(one.churn_s_per_minute, '8.1f')}"
    return f"{name:24}{one.rows:10,}{seconds}{shares}{pinballs}{coverage}{rest}"


def _group_line(one: GroupScores) -> str:
    shares = f"{one.coverage_50:9.1%}{_or_dash(one.coverage_90, '9.1%')}"
    errors = f"{one.standard_error_50:.2%} {_or_dash(one.standard_error_90, '.2%')}"
    return f"  {' · '.join(one.group.values()):22}{one.rows:10,}{one.orders:9,}{one.mae_s:9.1f}{shares}   {errors}"


def _or_dash(value: float | None, form: str) -> str:
    if value is None:
        return "–".rjust(int(form.partition(".")[0] or 1))
    return format(value, form)
