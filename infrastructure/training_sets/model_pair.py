"""Compares two models on the same rows: what one changes in the error, how surely, and how far their ETAs are apart."""

from __future__ import annotations

import msgspec
import numpy as np

from infrastructure.training_sets.eta_scores import Answers, Truth, clustered_error


class PairScores(msgspec.Struct, frozen=True):
    """Seconds. ``change_s``: the model's MAE − the other's; below 0 the model is better.

    ``standard_error_s``: of the change, by order: the rows of an order are not independent. ``apart_s``: the mean
    distance of the two medians. ``model`` and ``digest``: of the other model.
    """

    model: str
    digest: str
    rows: int
    orders: int
    mae_s: float
    other_mae_s: float
    change_s: float
    standard_error_s: float
    apart_s: float


def pair_scores(model: str, digest: str, answers: Answers, other: Answers, truth: Truth) -> PairScores:
    """``model``, ``digest``, ``other``: of the other model. Raises ValueError without rows."""
    if not len(truth.label_s):
        raise ValueError("no row has a label, so no two answers can be compared with what happened")
    errors, others = np.abs(answers.p50_s - truth.label_s), np.abs(other.p50_s - truth.label_s)
    change = errors - others
    return PairScores(
        model,
        digest,
        len(change),
        len(np.unique(truth.orders)),
        float(errors.mean()),
        float(others.mean()),
        float(change.mean()),
        clustered_error(change, truth.orders, float(change.mean())),
        float(np.abs(answers.p50_s - other.p50_s).mean()),
    )


def pair_lines(found: PairScores) -> list[str]:
    """The comparison as text."""
    return [
        "",
        f"beside {found.model} {found.digest[:12]}, {found.rows:,} rows of {found.orders:,} orders",
        f"  MAE {found.mae_s:.1f} s, beside it {found.other_mae_s:.1f} s: change {found.change_s:+.1f} s, "
        f"standard error {found.standard_error_s:.1f} s",
        f"  the two ETAs are {found.apart_s:.1f} s apart on average",
    ]
