"""Evaluates regression trees for many rows at once: the same bits as ``sum_of``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain.features.eta.learned.trees import LEAF, Tree

Floats = NDArray[np.float64]

CHUNK_ROWS = 16_384
"""The values of a chunk stay in the processor's cache while all trees are evaluated."""


class TreeBatch:
    """The trees of one quantile, for rows of the inputs of a model."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        self._trees = [_Columns(tree) for tree in trees]

    def sums(self, rows: Floats) -> Floats:
        """One sum a row; ``rows`` has a column for each input, NaN where unknown."""
        found = np.zeros(len(rows))
        for at in range(0, len(rows), CHUNK_ROWS):
            chunk, part = rows[at : at + CHUNK_ROWS], found[at : at + CHUNK_ROWS]
            for tree in self._trees:
                part += tree.leaves(chunk)
        return found


class _Columns:
    """One tree by columns. A leaf leads to itself, so that each row takes as many steps as the tree is deep."""

    def __init__(self, tree: Tree) -> None:
        numbers = range(len(tree))
        leaf = [node.input == LEAF for node in tree]
        self.input = np.array([0 if at_end else node.input for node, at_end in zip(tree, leaf, strict=True)])
        self.threshold = np.array([node.threshold for node in tree])
        self.below = np.array([n if leaf[n] else tree[n].below for n in numbers])
        self.above = np.array([n if leaf[n] else tree[n].above for n in numbers])
        self.unknown_below = np.array([node.unknown_below for node in tree])
        self.depth = _depth(tree)

    def leaves(self, rows: Floats) -> Floats:
        at, each = np.zeros(len(rows), dtype=np.intp), np.arange(len(rows))
        for _ in range(self.depth):
            values = rows[each, self.input[at]]
            is_below = np.where(np.isnan(values), self.unknown_below[at], values < self.threshold[at])
            at = np.where(is_below, self.below[at], self.above[at])
        leaves: Floats = self.threshold[at]
        return leaves


def _depth(tree: Tree) -> int:
    depth = [0] * len(tree)
    for number, node in enumerate(tree):
        if node.input != LEAF:
            for child in (node.below, node.above):
                depth[child] = max(depth[child], depth[number] + 1)
    return max(depth)
