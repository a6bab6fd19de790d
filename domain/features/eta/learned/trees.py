"""Sums of regression trees: the reference for every faster evaluation, which must give the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, isnan
from typing import NamedTuple

LEAF = -1
"""As the input of a node: it is a leaf."""


class Node(NamedTuple):
    """A value below ``threshold`` goes to the node ``below``, another one to ``above``; both have higher numbers.

    An unknown value (NaN) goes to ``below`` if ``unknown_below``. ``input`` is the number of an input of the model, or
    LEAF; ``threshold`` is then what the leaf adds.
    """

    input: int
    threshold: float
    below: int = 0
    above: int = 0
    unknown_below: bool = False


Tree = tuple[Node, ...]
"""The nodes of one tree, the root first."""

TreeSum = Callable[[Sequence[float]], float]
"""The sum of all trees of one quantile, for the inputs of a model. In the order of the trees, in binary64."""


class InvalidTrees(ValueError):
    """Trees that could not be evaluated, or not in bounded time."""


def check(trees: Sequence[Tree], inputs: int, max_depth: int) -> None:
    """Raises InvalidTrees unless each path ends in a leaf, after at most ``max_depth`` nodes."""
    for tree in trees:
        if not tree:
            raise InvalidTrees("a tree has no node")
        depth = [0] * len(tree)
        for number, node in enumerate(tree):
            if not isfinite(node.threshold) or not LEAF <= node.input < inputs:
                raise InvalidTrees(f"a node has the input {node.input} and the threshold {node.threshold}")
            if node.input == LEAF:
                continue
            for child in (node.below, node.above):
                if not number < child < len(tree):
                    raise InvalidTrees(f"node {number} leads to node {child} of {len(tree)}")
                depth[child] = max(depth[child], depth[number] + 1)
        if max(depth) > max_depth:
            raise InvalidTrees(f"a tree is deeper than {max_depth} nodes")


def sum_of(trees: Sequence[Tree], values: Sequence[float]) -> float:
    """The sum of the leaves that ``values`` lead to."""
    total = 0.0
    for tree in trees:
        node = tree[0]
        while node.input != LEAF:
            value = values[node.input]
            below = node.unknown_below if isnan(value) else value < node.threshold
            node = tree[node.below if below else node.above]
        total += node.threshold
    return total
