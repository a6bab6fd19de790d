"""The digest of a fold: changes when its code does, not when a comment, a docstring or the layout does."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from projections.protocol import Projection


def fold_digest(projection: Projection[Any]) -> str:
    """32 hex digits over the projection's modules and fold version; the same on every supported Python.

    Read from the sources once in the life of a process: the files of a running service may be replaced under it, and
    what it folds with is the code that it has loaded.
    """
    return _digest(projection.name, projection.fold_version, projection.modules)


def view_digest(projection: Projection[Any]) -> str:
    """32 hex digits over all code that makes the served row of a state; "" of a projection that serves none."""
    view = projection.view
    if view is None:
        return ""
    # The view's own module declares it, and so cannot be among the modules that it names.
    return _digest(projection.name, 0, (*view.modules, sys.modules[view.row.__module__]))


@cache
def _digest(name: str, fold_version: int, modules: tuple[ModuleType, ...]) -> str:
    digest = hashlib.sha256(f"{name}/{fold_version}".encode())
    for module in modules:
        for token in module_tokens(module):
            digest.update(token.encode() + b"\0")
    return digest.hexdigest()[:32]


def module_tokens(module: ModuleType) -> Iterable[str]:
    return source_tokens(inspect.getsource(module))


def source_tokens(source: str) -> Iterator[str]:
    yield from _walk(ast.parse(source))


def _walk(node: ast.AST) -> Iterator[str]:
    # Brackets: without them a statement moved out of its block, or an argument into another call, would not show.
    yield f"({type(node).__name__}"
    for name, value in ast.iter_fields(node):
        # Empty and absent fields are left out: Python versions differ in which of them a node has.
        if value is None or value == [] or name in {"ctx", "kind", "type_comment"}:
            continue
        yield f"{name}["
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                if not _is_docstring(item):
                    yield from _walk(item)
            else:
                yield repr(item)
        yield "]"
    yield ")"


def _is_docstring(node: ast.AST) -> bool:
    # A bare string is a docstring or a note on the name above it; neither computes anything.
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
