"""What is served of one key's state: the values that are computed of it, and the row that they are at an instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

S = TypeVar("S")

Kind = Literal["text", "float", "integer", "instant"]
"""Type of a column: UTF-8 text, a double, a 64-bit integer, a UTC time in milliseconds; each may be null."""


class ViewLimits(NamedTuple):
    """Ages in milliseconds: stale past twice the target freshness, expired past the time to live."""

    target_freshness_ms: int = 15_000
    feature_ttl_ms: int = 7_200_000


@dataclass(frozen=True)
class View(Generic[S]):
    """The values of one key, the same in a live answer, a replay and a training set.

    ``features(state)`` is pure and costs most; ``row(key, features, at_ms, limits, allow_expired)`` makes the row of it
    at an instant (epoch ms), which is where ages come in. ``columns`` are the row's, in order. The digest of
    ``features`` and ``row`` covers all that they call: a row is only compared with one of the same digest.
    ``explain(state)`` gives the weight of each event that the state keeps, on request.
    """

    columns: Mapping[str, Kind]
    features: Callable[[S], Any]
    row: Callable[[str, Any, int, ViewLimits, bool], dict[str, Any]]
    explain: Callable[[S], list[dict[str, Any]]] | None = None


def body_of(answer: Mapping[str, Any]) -> bytes:
    """The body of an answer: made here and nowhere else, since what was sent is compared byte for byte with what the
    log says should have been."""
    return msgspec.json.encode(answer)
