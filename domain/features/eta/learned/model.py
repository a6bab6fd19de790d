"""A learned ETA: what trees add to the baseline and the promise, on a logarithmic scale.

    ln(P + 60 s) = (1 − w) · ln(baseline P50 + 60 s) + w · ln(promise left + 60 s) + trees of that quantile + offset

w is 0 for an order without a promise. The P90 is never below the P50. For inputs that the training set had none of, the
answer is that of the baseline, and says ``outside_training``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, isnan
from typing import Final, NamedTuple

from domain.features.eta.baseline import Baseline
from domain.features.eta.facts import NO_FACTS, OrderFacts
from domain.features.eta.features import EtaFeatures
from domain.features.eta.learned.inputs import INPUTS, NO_PLACES, NUMBER_OF, SHIFT_S, input_values, log_shifted
from domain.features.eta.learned.trees import TreeSum
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.eta.way import Way

LEARNED_FORMULA: Final = "1"
"""Changes with every change of the formula or of an input's definition: the digest of a model covers it."""

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MEDIAN, P90 = LEVELS.index(0.5), LEVELS.index(0.9)

MAX_LOG_RATIO: Final = 5.0
"""Bounds what trees can make of the baseline: a factor of 148, so that every answer is finite."""

Z_OF_LEVEL: Final = (-1.2815515655446004, -0.8416212335729143, -0.5244005127080407, -0.2533471031357997, 0.0)
"""Quantiles of the standard normal distribution at the levels up to the median; the others mirror them."""


class InputBounds(NamedTuple):
    """What a training set had of one input: the lowest and the highest value, and whether it was unknown at times."""

    low: float
    high: float
    unknown: bool


class LearnedSpec(NamedTuple):
    """What a learned model is beside its trees. ``offsets``: one a level, of the calibration.

    ``bounds``: of the inputs that trees use, by name; other inputs may have any value. ``places``: effects of the
    restaurants in the training set by place, in ln of seconds; another restaurant has the mean of all, 0.
    """

    name: str
    digest: str
    cities: tuple[str, ...]
    bounds: Mapping[str, InputBounds]
    promise_weight: float
    offsets: tuple[float, ...]
    places: Mapping[str, float] = NO_PLACES


class LearnedEta:
    """A model for ``EtaModel``. ``trees``: one sum a level; only those of P50 and P90 are asked by ``predict``."""

    def __init__(self, spec: LearnedSpec, baseline: Baseline, trees: Sequence[TreeSum]) -> None:
        self.name = spec.name
        self.digest = spec.digest
        self.spec = spec
        self.baseline = baseline
        self.trees = tuple(trees)
        self._cities = {name: number for number, name in enumerate(spec.cities)}
        self._bounds = tuple((NUMBER_OF[name], *bounds) for name, bounds in spec.bounds.items())
        self._promise_left = NUMBER_OF["promised_left_s"]

    def predict(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> EtaQuantiles:
        """The seconds until hand-over: 0 ≤ P50 ≤ P90, finite."""
        of_baseline = self.baseline.predict(features, way)
        values = self.inputs(features, way, facts, of_baseline)
        if self.is_outside(values):
            return of_baseline
        base = self.base(of_baseline, facts)
        p50_s = self._seconds(base, self.trees[MEDIAN](values), MEDIAN)
        return EtaQuantiles(p50_s, max(p50_s, self._seconds(base, self.trees[P90](values), P90)))

    def is_outside_training(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> bool:
        """Whether an input is one that the training set had none of: then the answer is that of the baseline."""
        return self.is_outside(self.inputs(features, way, facts, self.baseline.predict(features, way)))

    def inputs(self, features: EtaFeatures, way: Way, facts: OrderFacts, of_baseline: EtaQuantiles) -> list[float]:
        return input_values(features, way, facts, of_baseline, self._cities, self.spec.places)

    def is_outside(self, values: Sequence[float]) -> bool:
        """``values`` as ``inputs`` gives them. A comparison with NaN is false."""
        for number, low, high, unknown in self._bounds:
            value = values[number]
            if not low <= value <= high and not (unknown and isnan(value)):
                return True
        return False

    def base(self, of_baseline: EtaQuantiles, facts: OrderFacts) -> float:
        """The logarithm that the trees add to."""
        return log_base(of_baseline.p50_s, facts.promised_left_s, self.spec.promise_weight)

    def quantiles(self, base: float, sums: Sequence[float]) -> tuple[float, ...]:
        """Seconds at all levels, not crossing; ``sums`` of the trees by level. P50 and P90 as ``predict`` has them."""
        found = [self._seconds(base, one, level) for level, one in enumerate(sums)]
        found[P90] = max(found[MEDIAN], found[P90])
        # P50 and P90 stay, so that they need no other trees; the others give way to them, and to their neighbours.
        low = sorted(min(one, found[MEDIAN]) for one in found[:MEDIAN])
        high = sorted(min(max(one, found[MEDIAN]), found[P90]) for one in found[MEDIAN + 1 : P90])
        return (*low, found[MEDIAN], *high, found[P90])

    def _seconds(self, base: float, trees: float, level: int) -> float:
        ratio = min(max(trees + self.spec.offsets[level], -MAX_LOG_RATIO), MAX_LOG_RATIO)
        return max(0.0, exp(base + ratio) - SHIFT_S)


def log_base(baseline_p50_s: float, promised_left_s: float | None, promise_weight: float) -> float:
    base = log_shifted(baseline_p50_s)
    if promised_left_s is None or promise_weight == 0.0:
        return base
    return (1.0 - promise_weight) * base + promise_weight * log_shifted(promised_left_s)


def quantiles_between(quantiles: EtaQuantiles) -> tuple[float, ...]:
    """Nine quantiles of a model that has only two: those of the normal distribution through P50 and P90, at least 0."""
    spread = (quantiles.p90_s - quantiles.p50_s) / -Z_OF_LEVEL[0]
    z_of_level = (*Z_OF_LEVEL, *(-z for z in reversed(Z_OF_LEVEL[:-1])))
    return tuple(max(0.0, quantiles.p50_s + z * spread) for z in z_of_level)


def used_inputs(names: Sequence[str]) -> tuple[int, ...]:
    """Their numbers. Raises ValueError for one that this code has not."""
    unknown = sorted(set(names) - set(INPUTS))
    if unknown:
        raise ValueError(f"this code has no input {', '.join(unknown)}")
    return tuple(NUMBER_OF[name] for name in names)
