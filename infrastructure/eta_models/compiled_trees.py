"""Compiles regression trees into Python functions: the same bits as ``sum_of``, several times as fast.

A native library would have to be loaded into the process that serves. A hundred trees take some 20 µs this way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType

from domain.features.eta.learned.trees import LEAF, Tree, TreeSum, check

MAX_DEPTH = 12
"""Of a tree: the compiler's own limit of nested parentheses is 200."""

TREES_A_FUNCTION = 50
"""Bounds the size of one function, whose compilation takes more than linear time."""


def compiled(trees: Sequence[Tree], inputs: int) -> TreeSum:
    """The sum of the trees, for values of ``inputs`` inputs. Raises InvalidTrees."""
    check(trees, inputs, MAX_DEPTH)
    parts = [_function(trees[at : at + TREES_A_FUNCTION]) for at in range(0, len(trees), TREES_A_FUNCTION)]

    def total(values: Sequence[float]) -> float:
        found = 0.0
        for part in parts:
            found = part(found, values)
        return found

    return total


def _function(trees: Sequence[Tree]) -> Callable[[float, Sequence[float]], float]:
    used = sorted({node.input for tree in trees for node in tree if node.input != LEAF})
    lines = [f"    x{number} = v[{number}]" for number in used]
    lines += [f"    s += {_expression(tree, 0)}" for tree in trees]
    source = "\n".join(["def part(s, v):", *lines, "    return s"])
    # The source has numbers of checked nodes only, no text of a model's files.
    code: CodeType = compile(source, "<trees>", "exec")
    scope: dict[str, Callable[[float, Sequence[float]], float]] = {}
    exec(code, {"__builtins__": {}}, scope)
    return scope["part"]


def _expression(tree: Tree, number: int) -> str:
    node = tree[number]
    if node.input == LEAF:
        return f"({float(node.threshold)!r})"
    below, above = _expression(tree, node.below), _expression(tree, node.above)
    # Each comparison with NaN is false, so its two forms send an unknown value to the two sides.
    if node.unknown_below:
        return f"({above} if x{int(node.input)} >= {float(node.threshold)!r} else {below})"
    return f"({below} if x{int(node.input)} < {float(node.threshold)!r} else {above})"
