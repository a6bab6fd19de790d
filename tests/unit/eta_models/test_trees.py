"""Compiled and batched trees give the bits of the reference; the files of a model are believed only if they fit."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.eta.learned.trees import LEAF, InvalidTrees, Node, Tree, sum_of
from infrastructure.eta_models.batch_trees import TreeBatch
from infrastructure.eta_models.compiled_trees import compiled
from infrastructure.eta_models.model_files import trees_of, trees_text

INPUTS = 3
numbers = st.floats(-1e6, 1e6)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A tree whose nodes are numbered level by level, as the library has them."""
    depth = draw(st.integers(0, 3))
    inner = 2**depth - 1
    nodes = [
        Node(draw(st.integers(0, INPUTS - 1)), draw(numbers), 2 * n + 1, 2 * n + 2, draw(st.booleans()))
        for n in range(inner)
    ]
    return (*nodes, *(Node(LEAF, draw(numbers)) for _ in range(inner + 1)))


values = st.lists(st.one_of(numbers, st.just(nan)), min_size=INPUTS, max_size=INPUTS)


@settings(max_examples=50)
@given(st.lists(trees(), max_size=4), st.lists(values, min_size=1, max_size=4))
def test_all_evaluations_give_the_same_bits(given_trees: list[Tree], rows: list[list[float]]) -> None:
    expected = [sum_of(given_trees, row) for row in rows]
    fast, batch = compiled(given_trees, INPUTS), TreeBatch(given_trees)
    assert [fast(row) for row in rows] == expected
    assert batch.sums(np.array(rows)).tolist() == expected
    assert trees_of(trees_text(given_trees), INPUTS) == given_trees


def test_a_value_at_a_threshold_goes_above() -> None:
    tree: Tree = (Node(0, 2.0, 1, 2, unknown_below=True), Node(LEAF, 1.0), Node(LEAF, 5.0))
    assert [compiled([tree], 1)([value]) for value in (1.9, 2.0, nan)] == [1.0, 5.0, 1.0]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[1]",
        b'[{"input":[0],"threshold":[1e999],"below":[0],"above":[0],"unknown_below":[0]}]',
        b'[{"input":[-1],"threshold":[1.0],"below":[0],"above":[0],"unknown_below":[0,1]}]',
        b'[{"input":[-2],"threshold":[1.0],"below":[0],"above":[0],"unknown_below":[0]}]',
        b'[{"input":["__import__"],"threshold":[1.0],"below":[0],"above":[0],"unknown_below":[0]}]',
    ],
    ids=["nothing", "no tree", "infinite", "columns differ", "input", "text"],
)
def test_a_file_with_other_content_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidTrees):
        trees_of(text, INPUTS)
