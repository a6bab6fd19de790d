"""The rows of a set as arrays: bounded memory, whatever its size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import numpy as np

from domain.features.eta.packaged import packaged_baseline
from infrastructure.training_sets.model_rows import model_rows
from tests.support.eta.model_rows import eta_rows

MAX_ROW_BYTES = 1_000
"""At its peak, of 55 values of 8 bytes, and a copy of some. Lists of Python numbers took 1,469."""


def many(rows: list[dict[str, Any]], times: int) -> Iterator[dict[str, Any]]:
    return chain.from_iterable(repeat(rows, times))


def test_regression_a_row_takes_the_bytes_of_its_values() -> None:
    rows, baseline = list(eta_rows(50)), packaged_baseline()
    tracemalloc.start()
    try:
        found = model_rows(many(rows, 40), baseline, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 4_000
    assert peak < MAX_ROW_BYTES * len(found)


def test_a_set_without_a_finished_order_has_no_rows() -> None:
    found = model_rows([row | {"censored": True} for row in eta_rows(3)], packaged_baseline(), None)
    assert len(found) == 0
    assert found.inputs.shape[1] > 0
    assert found.of(np.zeros(0, dtype=np.bool_)).cities == ()
