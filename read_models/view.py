"""The view of one key's state: the values computed from it, and the served row at an instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

S = TypeVar("S")

ColumnType = Literal["text", "float", "integer", "instant", "bytes"]
"""Type of a column: UTF-8 text, a double, a 64-bit integer, a UTC time in milliseconds, bytes; each may be null."""


class ViewLimits(NamedTuple):
    """Ages in milliseconds: stale past twice the target freshness, expired past the time to live."""

    target_freshness_ms: int = 15_000
    feature_ttl_ms: int = 7_200_000


@dataclass(frozen=True)
class View(Generic[S]):
    """Computes the values of one key, identically for a live answer, a replay and a training set.

    ``features(state)`` is pure and the most expensive part. ``row(key, features, at_ms, limits, allow_expired)`` makes
    the row at an instant (epoch ms), and with it the ages. ``columns`` are those of the row, in order. The digest of
    ``features`` and ``row`` covers all code that they call; a row is only compared with one of the same digest.
    ``explain(state)`` gives the weight of each event in the state, on request.
    """

    columns: Mapping[str, ColumnType]
    features: Callable[[S], Any]
    row: Callable[[str, Any, int, ViewLimits, bool], dict[str, Any]]
    explain: Callable[[S], list[dict[str, Any]]] | None = None


def body_of(answer: Mapping[str, Any]) -> bytes:
    """The body of an answer. Encoded only here, because parity compares the sent bytes with the recomputed ones."""
    return msgspec.json.encode(answer)
