"""The baseline in place of a model that cannot be loaded: the same seconds, with ``model_unavailable`` as a reason."""

from __future__ import annotations

from hashlib import sha256

from domain.features.eta.baseline import Baseline
from domain.features.eta.facts import NO_FACTS, OrderFacts
from domain.features.eta.features import EtaFeatures
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.eta.way import Way


class StandIn:
    """Has a digest of its own, so that a check of an answer knows that it said ``model_unavailable``."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.name = baseline.name
        self.digest = sha256(f"{baseline.digest} model_unavailable".encode()).hexdigest()

    def predict(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> EtaQuantiles:
        return self.baseline.predict(features, way)

    def is_outside_training(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> bool:
        return self.baseline.is_outside_training(features, way)
