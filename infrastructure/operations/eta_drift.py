"""Compares a day's served ETAs with the training set of their model and with what then happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import msgspec

from domain.features.drift.psi import chance_limit, effective_size, psi
from domain.features.drift.reference import (
    FeatureReference,
    FeatureValue,
    InvalidReference,
    count_in,
    references_from,
)
from domain.features.drift.served_errors import ServedErrors
from infrastructure.postgres.eta_drift import (
    MAX_NAME_CHARS,
    AnsweredEta,
    DriftOfDay,
    FeatureDrift,
    LegErrors,
)

DAY_MS = 86_400_000

MATURE_MS = 2 * 3_600_000
"""A younger answer is not judged: of its day only the quick orders are over, and the error would look small."""


WEEKDAY = "local_day_of_week"
"""No day has the weekdays of a training set of weeks: its index would say that each day has shifted."""
HOUR = "local_time_of_day_h"
"""Until a day is over its answers lack the hours that are to come: the index would say so every morning."""


class _Body(msgspec.Struct):
    """What is read of an answer's body."""

    p50_seconds: float
    p90_seconds: float
    features: dict[str, Any]


_DECODER = msgspec.json.Decoder(_Body)


class ReadAnswer(NamedTuple):
    """An answer of the sample, decoded."""

    eta: AnsweredEta
    body: _Body


def read_answers(sample: Iterable[AnsweredEta]) -> list[ReadAnswer]:
    """The answers whose body can be read. Another version of the program may have written other bodies."""
    found: list[ReadAnswer] = []
    for eta in sample:
        try:
            found.append(ReadAnswer(eta, _DECODER.decode(eta.body)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def references_in(manifest: bytes | None) -> dict[str, FeatureReference]:
    """The references of a model's manifest; empty if it has none. Raises InvalidReference."""
    if manifest is None:
        return {}
    try:
        stored = msgspec.json.decode(manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidReference(f"the manifest cannot be read: {error}") from error
    if not isinstance(stored, Mapping):
        raise InvalidReference("the manifest is no object")
    return references_from(stored.get("reference", {}))


def drift_of_day(
    day: date, answers: Sequence[ReadAnswer], references: Mapping[str, Mapping[str, FeatureReference]], now_ms: int
) -> DriftOfDay:
    """What the sampled answers of a day show. ``references``: by model digest, then by feature.

    WEEKDAY is not compared, and HOUR only of a day that is over at ``now_ms``.
    """
    not_compared = {WEEKDAY} if day < day_of(now_ms) else {WEEKDAY, HOUR}
    by_model: dict[str, list[ReadAnswer]] = defaultdict(list)
    for answer in answers:
        by_model[answer.eta.model_digest].append(answer)
    drift: list[FeatureDrift] = []
    errors: list[LegErrors] = []
    for model, of_model in sorted(by_model.items()):
        of_orders = Counter(one.eta.order_id for one in of_model)
        orders, independent = len(of_orders), effective_size(of_orders.values())
        for feature, reference in sorted(references.get(model, {}).items()):
            if feature not in not_compared and any(feature in one.body.features for one in of_model):
                values = [_value(one.body.features.get(feature)) for one in of_model]
                counts = count_in(reference, values)
                limit = chance_limit(reference.counts, counts, independent, reference.independent)
                index = psi(reference.counts, counts)
                drift.append(FeatureDrift(model, feature, index, limit, len(values), orders))
        errors += _errors(model, of_model, now_ms)
    return DriftOfDay(day, drift, errors)


def _errors(model: str, answers: Sequence[ReadAnswer], now_ms: int) -> list[LegErrors]:
    by_leg: dict[str, ServedErrors] = defaultdict(ServedErrors)
    for eta, body in answers:
        if eta.completed_ms is None or eta.at_ms > now_ms - MATURE_MS:
            continue
        leg = str(body.features.get("leg"))[:MAX_NAME_CHARS]
        p50_ms, p90_ms = round(body.p50_seconds * 1_000), round(body.p90_seconds * 1_000)
        by_leg[leg].add(eta.order_id, p50_ms, p90_ms, eta.completed_ms - eta.at_ms)
    return [
        LegErrors(model, leg, one.answers, len(one.orders), one.mae_s, one.bias_s, one.p50_held, one.p90_held)
        for leg, one in sorted(by_leg.items())
    ]


def _value(value: Any) -> FeatureValue:
    # A list or an object is no value of a feature: unknown, so that a changed body shows as drift and stops nothing.
    return value if value is None or isinstance(value, (int, float, str)) else None


def day_of(at_ms: int) -> date:
    """The day in UTC of an instant, epoch milliseconds."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).date()
