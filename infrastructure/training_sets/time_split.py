"""Splits rows by time and by order: all rows of an order are in one part, and no part knows what ended after it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infrastructure.training_sets.model_rows import ModelRows

Mask = NDArray[np.bool_]


class TimeSplit(NamedTuple):
    """Masks over rows. ``validation_ms`` and ``test_ms``: when the first order of these parts was placed, epoch ms.

    An order that was placed before one of them and ended after it is in no part: its end was not known by then.
    """

    training: Mask
    validation: Mask
    test: Mask
    validation_ms: int
    test_ms: int


def split_by_time(rows: ModelRows, validation_share: float, test_share: float) -> TimeSplit:
    """Shares of the orders, the newest for the test. Raises ValueError if a part would have no row."""
    _, first = np.unique(rows.orders, return_index=True)
    placed = np.sort(rows.placed_ms[first])
    if not len(placed):
        raise ValueError("no order of the training set has an end")
    validation_ms = int(placed[min(len(placed) - 1, int(len(placed) * (1.0 - validation_share - test_share)))])
    test_ms = int(placed[min(len(placed) - 1, int(len(placed) * (1.0 - test_share)))])
    training = (rows.placed_ms < validation_ms) & (rows.completed_ms < validation_ms)
    validation = (rows.placed_ms >= validation_ms) & (rows.placed_ms < test_ms) & (rows.completed_ms < test_ms)
    test = rows.placed_ms >= test_ms
    for name, mask in (("training", training), ("validation", validation), ("test", test)):
        if not mask.any():
            raise ValueError(f"no row is left for the {name}: the training set has {len(placed):,} finished orders")
    return TimeSplit(training, validation, test, validation_ms, test_ms)
