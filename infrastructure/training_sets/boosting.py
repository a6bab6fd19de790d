"""Learns one quantile by gradient boosting, and takes the trees out of the library: XGBoost, with fixed threads.

Training is the only step that needs the library. Its trees are evaluated by ``domain.features.eta.learned.trees``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.features.eta.learned.trees import LEAF, Node, Tree
from infrastructure.errors import UserError

Floats = NDArray[np.float64]

LEARNING_RATE: Final = 0.05
MAX_DEPTH: Final = 5
ROW_SHARE: Final = 0.5
INPUT_SHARE: Final = 0.3
"""Share of the inputs, drawn again for each node: a strong input must not hide the others."""
EARLY_STOP_ROUNDS: Final = 30
ROWS_A_LEAF: Final = 200
"""At most: rows of one order resemble each other, so a small leaf would learn single orders."""


class BoostingRequest(NamedTuple):
    """``level``: of the quantile. ``rounds``: trees at most, or exactly without rows for validation."""

    level: float
    rounds: int
    seed: int
    threads: int


class LabelledRows(NamedTuple):
    """Inputs, and the value that is to be learned."""

    inputs: Floats
    target: Floats


def library() -> ModuleType:
    """Raises UserError if it is not installed."""
    try:
        import xgboost  # noqa: PLC0415  (a second to import, and only training needs it)
    except ImportError as error:
        raise UserError("training needs XGBoost, which is not installed here: pip install 'ridelog[train]'") from error
    return xgboost


def parameters(request: BoostingRequest, rows: int) -> dict[str, Any]:
    """The library's parameters. One tree a round; squared weights of leaves are punished as by its default."""
    return {
        "objective": "reg:quantileerror",
        "quantile_alpha": request.level,
        "tree_method": "hist",
        "max_depth": MAX_DEPTH,
        "eta": LEARNING_RATE,
        "min_child_weight": min(ROWS_A_LEAF, max(5, rows // 200)),
        "subsample": ROW_SHARE,
        "colsample_bynode": INPUT_SHARE,
        # The residual is around 0 already; a constant that is learned would be added in another order.
        "base_score": 0.0,
        "seed": request.seed,
        "nthread": request.threads,
        "verbosity": 0,
    }


def boosted(request: BoostingRequest, training: LabelledRows, validation: LabelledRows | None = None) -> list[Tree]:
    """The trees of one quantile. With ``validation``, as many as have the lowest loss there."""
    xgboost = library()
    data = xgboost.QuantileDMatrix(training.inputs, training.target, nthread=request.threads)
    options: dict[str, Any] = {}
    if validation is not None:
        other = xgboost.QuantileDMatrix(validation.inputs, validation.target, ref=data, nthread=request.threads)
        options = {"evals": [(other, "validation")], "early_stopping_rounds": EARLY_STOP_ROUNDS}
    wanted = parameters(request, len(training.target))
    booster = xgboost.train(wanted, data, request.rounds, verbose_eval=False, **options)
    rounds = request.rounds if validation is None else booster.best_iteration + 1
    return _trees(booster, rounds)


def _trees(booster: Any, rounds: int) -> list[Tree]:
    """The library's documented JSON has a tree by column; a leaf has no children, and its value as threshold."""
    document = msgspec.json.decode(bytes(booster.save_raw("json")))
    found = document["learner"]["gradient_booster"]["model"]["trees"][:rounds]
    return [_tree(one) for one in found]


def _tree(one: dict[str, list[Any]]) -> Tree:
    columns = ("split_indices", "split_conditions", "left_children", "right_children", "default_left")
    nodes = []
    for number, threshold, below, above, unknown_below in zip(*(one[name] for name in columns), strict=True):
        if below < 0:
            nodes.append(Node(LEAF, float(threshold)))
        else:
            nodes.append(Node(int(number), float(threshold), int(below), int(above), bool(unknown_below)))
    return tuple(nodes)
