"""The facts of an order: what is left of its promise, and nothing that was not known when it was placed."""

from __future__ import annotations

from domain.features.eta.estimate import estimate
from domain.features.eta.facts import NO_FACTS, OrderFacts, order_facts
from domain.features.eta.features import EtaFeatures
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.quantiles import EtaQuantiles
from domain.features.eta.way import Way
from tests.support.eta.given import NOW_MS, order


def test_what_is_left_of_a_promise_falls_below_zero() -> None:
    placed = order("placed", promised_seconds=900, items=3, city="Berlin")
    facts = order_facts(placed, NOW_MS)
    assert facts == OrderFacts(300.0, 900, 3, "Berlin", "Europe/Berlin", placed.restaurant, placed.customer)
    assert order_facts(placed, NOW_MS + 400_500).promised_left_s == -100.5


def test_an_order_without_a_promise_has_none_left() -> None:
    facts = order_facts(order("placed"), NOW_MS)
    assert (facts.promised_left_s, facts.promised_seconds, facts.items, facts.city) == (None, None, None, "")


def test_a_model_gets_the_facts_of_the_answer() -> None:
    seen: list[OrderFacts] = []
    baseline = packaged_baseline()

    class Listening:
        name, digest = "listening", "0" * 64

        def predict(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> EtaQuantiles:
            seen.append(facts)
            return baseline.predict(features, way)

        def is_outside_training(self, features: EtaFeatures, way: Way, facts: OrderFacts = NO_FACTS) -> bool:
            seen.append(facts)
            return False

    placed = order("placed", promised_seconds=900)
    estimate(placed, None, None, NOW_MS, Listening(), order_id="one")
    assert seen == [order_facts(placed, NOW_MS)] * 2
