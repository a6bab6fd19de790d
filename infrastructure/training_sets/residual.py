"""What the trees of a learned ETA add to, and what they are to add: logarithms of seconds, a row at a time. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.features.eta.learned.inputs import SHIFT_S
from infrastructure.training_sets.model_rows import ModelRows

Floats = NDArray[np.float64]


def base_of(rows: ModelRows, promise_weight: float) -> Floats:
    """The logarithm that the trees add to, as ``log_base`` has it."""
    base = np.log(rows.baseline_p50_s.clip(min=0.0) + SHIFT_S)
    promised = ~np.isnan(rows.promised_left_s)
    of_promise = np.log(np.where(promised, rows.promised_left_s, 0.0).clip(min=0.0) + SHIFT_S)
    return np.where(promised, (1.0 - promise_weight) * base + promise_weight * of_promise, base)


def residual_of(rows: ModelRows, promise_weight: float) -> Floats:
    """What the trees are to add."""
    target: Floats = np.log(rows.label_s.clip(min=0.0) + SHIFT_S) - base_of(rows, promise_weight)
    return target
