"""How a feature was distributed in the training set of a model: bins, and how many rows had each. Pure.

``train-eta`` stores ``references_of(…)`` of its rows in the model's manifest, under ``reference``. Nothing that a model
answers depends on it. What is served is counted in the same bins and compared (``psi``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil, isfinite
from typing import Any, Final, NamedTuple

BINS: Final = 10
"""Quantile bins: those that Siddiqi (``psi``) uses, few enough that each has hundreds of a day's answers."""

MAX_EDGES: Final = 100
MAX_LABELS: Final = 100
MAX_LABEL: Final = 64
MAX_FEATURES: Final = 200
"""Bound a reference that is read from a file."""

FeatureValue = float | int | str | None


class InvalidReference(ValueError):
    """A stored reference is not one. The message says what is wrong."""


class FeatureReference(NamedTuple):
    """The bins of one feature, and the rows of the training set in each.

    Numbers: bin i holds the values ≤ ``edges[i]`` that are above the edge before it, and one more bin those above all
    edges. Text: a bin for each of ``labels``, and one for all other text. The last bin of both is for unknown values.
    ``independent``: their ``psi.effective_size``, since rows of one order are alike; None = all, as in a
    reference that was stored before it was counted.
    """

    edges: tuple[float, ...]
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    independent: float | None = None


def reference_of(values: Sequence[FeatureValue], bins: int = BINS) -> FeatureReference:
    """The reference of one feature. The edges are the quantiles of the known values; equal ones are one edge.

    A feature of few distinct numbers, such as the day of the week, so has a bin for each that is frequent.
    """
    known = [value for value in values if value is not None and not _is_nan(value)]
    if any(isinstance(value, str) for value in known):
        frequent = Counter(str(value) for value in known).most_common(MAX_LABELS)
        empty = FeatureReference((), tuple(sorted(label[:MAX_LABEL] for label, _ in frequent)), ())
    else:
        numbers = sorted(float(value) for value in known)
        cuts = [numbers[ceil(len(numbers) * part / bins) - 1] for part in range(1, bins)] if numbers else []
        empty = FeatureReference(tuple(dict.fromkeys(cuts)), (), ())
    return empty._replace(counts=count_in(empty, values))


def references_of(columns: Mapping[str, Sequence[FeatureValue]], independent: float | None = None) -> dict[str, Any]:
    """The references of all features, as a manifest stores them; ``independent`` of their rows."""
    return {name: reference_of(values)._replace(independent=independent)._asdict() for name, values in columns.items()}


def count_in(reference: FeatureReference, values: Iterable[FeatureValue]) -> tuple[int, ...]:
    """How many of ``values`` are in each bin of the reference."""
    edges, labels = reference.edges, reference.labels
    index = {label: number for number, label in enumerate(labels)}
    others = len(labels) if labels else len(edges)
    counts = [0] * (others + 2)
    for value in values:
        if value is None or _is_nan(value):
            counts[-1] += 1
        elif isinstance(value, str):
            # Text where the training set had numbers is in the bin above all edges: it shows as drift.
            counts[index.get(value[:MAX_LABEL], others)] += 1
        else:
            counts[others if labels else bisect_left(edges, value)] += 1
    return tuple(counts)


def references_from(stored: Any) -> dict[str, FeatureReference]:
    """The references of a manifest. Raises InvalidReference."""
    if not isinstance(stored, Mapping) or len(stored) > MAX_FEATURES:
        raise InvalidReference(f"it is no object of at most {MAX_FEATURES} features")
    return {_text(name): _reference(name, one) for name, one in stored.items()}


def _reference(name: Any, stored: Any) -> FeatureReference:
    try:
        edges = tuple(float(edge) for edge in stored["edges"])
        labels = tuple(_text(label) for label in stored["labels"])
        counts = tuple(stored["counts"])
        independent = stored.get("independent")
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise InvalidReference(f"{str(name)[:MAX_LABEL]} has no edges, labels and counts: {error}") from error
    if len(edges) > MAX_EDGES or len(labels) > MAX_LABELS or (edges and labels):
        raise InvalidReference(f"{name} has too many bins, or both edges and labels")
    if not all(map(isfinite, edges)) or any(low >= high for low, high in pairwise(edges)):
        raise InvalidReference(f"the edges of {name} do not ascend")
    if len(set(labels)) != len(labels):
        raise InvalidReference(f"{name} has a label twice")
    if len(counts) != len(edges) + len(labels) + 2 or any(type(one) is not int or one < 0 for one in counts):
        raise InvalidReference(f"the counts of {name} do not fit its bins")
    if independent is not None and not (type(independent) in (int, float) and 0 <= independent <= sum(counts)):
        raise InvalidReference(f"{name} has {independent!r} independent rows of {sum(counts)}")
    return FeatureReference(edges, labels, counts, independent)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_LABEL:
        raise InvalidReference(f"a name or label is no text of at most {MAX_LABEL} characters")
    return value


def _is_nan(value: FeatureValue) -> bool:
    return value != value  # noqa: PLR0124 - only NaN differs from itself
