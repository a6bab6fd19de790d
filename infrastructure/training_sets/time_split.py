"""Splits rows by time and order: an order is in one part, and no part knows what became known after it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infrastructure.training_sets.model_rows import Integers, ModelRows

Mask = NDArray[np.bool_]


class TimeSplit(NamedTuple):
    """Masks over rows. ``validation_ms`` and ``test_ms``: when the first order of these parts was placed, epoch ms.

    An order that was placed before one of them, and whose end became known after it, is in no part.
    """

    training: Mask
    validation: Mask
    test: Mask
    validation_ms: int
    test_ms: int


def split_by_time(rows: ModelRows, known_ms: Integers, validation_share: float, test_share: float) -> TimeSplit:
    """Shares of the orders, the newest for the test. ``known_ms``: when the end of each row's order became known.

    Raises ValueError if a part would have no row.
    """
    placed = _placed_ms(rows)
    validation_ms = _at_share(placed, 1.0 - validation_share - test_share)
    test_ms = _at_share(placed, 1.0 - test_share)
    training = (rows.placed_ms < validation_ms) & (known_ms < validation_ms)
    validation = (rows.placed_ms >= validation_ms) & (rows.placed_ms < test_ms) & (known_ms < test_ms)
    test = rows.placed_ms >= test_ms
    for name, mask in (("training", training), ("validation", validation), ("test", test)):
        if not mask.any():
            raise ValueError(
                f"no row is left for the {name}: {len(placed):,} finished orders are too few to split by time; make a "
                "set of more orders, or of a longer time"
            )
    return TimeSplit(training, validation, test, validation_ms, test_ms)


def placed_by_ms(rows: ModelRows, share: float) -> int:
    """The instant (epoch ms) before which this share of the orders was placed. Raises ValueError without an order."""
    return _at_share(_placed_ms(rows), share)


def _placed_ms(rows: ModelRows) -> Integers:
    """When each order was placed, in order of time. Raises ValueError if there is none."""
    _, first = np.unique(rows.orders, return_index=True)
    if not len(first):
        raise ValueError("no order of the training set has an end")
    return np.sort(rows.placed_ms[first])


def _at_share(placed_ms: Integers, share: float) -> int:
    return int(placed_ms[min(len(placed_ms) - 1, int(len(placed_ms) * share))])
