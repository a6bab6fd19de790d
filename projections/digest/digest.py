"""Computes the digest of a fold. It changes with the code, not with comments, names of definitions, files or layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from projections.core.projection import Projection, no_changes
from projections.digest.definitions import Tracer

_Functions = tuple[Callable[..., Any], ...]


def fold_digest(projection: Projection[Any]) -> str:
    """32 hex digits over all code that decides what is stored and published; the same on every supported Python.

    Raises UntraceableDefinition for a fold whose code has no name in a source file.
    """
    return _digest(projection.name, projection.fold_version, fold_functions(projection), _start(projection))


def view_digest(projection: Projection[Any]) -> str:
    """32 hex digits over all code that computes the served row of a state; "" for a projection without a view.

    Raises UntraceableDefinition.
    """
    view = projection.view
    return "" if view is None else _digest(projection.name, 0, (view.features, view.row), repr(dict(view.columns)))


def answer_digest(name: str, *functions: Callable[..., Any]) -> str:
    """32 hex digits over all code that computes an answer from several read models.

    A method stands for its class: what is reached through a protocol is not traced. Raises UntraceableDefinition.
    """
    return _digest(name, 0, functions, "")


def fold_functions(projection: Projection[Any]) -> _Functions:
    """The functions that decide what is stored and published. Their callees are traced from them."""
    rows = () if projection.changes is no_changes else (projection.changes,)
    published = (projection.publication.values,) if projection.publication else ()
    published_rows = (projection.row_publication.values,) if projection.row_publication else ()
    partials = () if projection.partials is None else (projection.partials,)
    return (projection.fold, projection.encode, projection.decode, *rows, *published, *published_rows, *partials)


def _start(projection: Projection[Any]) -> str:
    published = projection.publication or projection.row_publication
    record = published.record if published else ""
    slots = f"/{projection.partial_slots}" if projection.partial_slots else ""
    return f"{projection.encode(projection.initial).hex()}/{record}{slots}"


@cache
def _digest(name: str, version: int, functions: _Functions, values: str) -> str:
    digest = hashlib.sha256(f"{name}/{version}/{values}".encode())
    for token in tokens(functions):
        digest.update(token.encode() + b"\0")
    return digest.hexdigest()[:32]


def tokens(functions: Iterable[Callable[..., Any]]) -> list[str]:
    """The code of ``functions`` and of all that they reach in this project, free of names of files and definitions."""
    tracer = Tracer()
    return [token for function in functions for token in tracer.trace(function)]
