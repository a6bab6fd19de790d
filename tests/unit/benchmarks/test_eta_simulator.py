"""The benchmark of the ETA in the simulated city: it knows no future, and a jump without a reason is found."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.eta_leave_out import WITHOUT_OF_ORDERS
from benchmarks.eta_simulated_walk import SimulatedSample, hand_overs, walk_simulated
from benchmarks.eta_simulator import EVERY_S, START_MS, jumps, leg_errors, lines, predicted, scenario
from domain.features.eta.packaged import packaged_baseline
from domain.features.eta.quantiles import EtaQuantiles
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.world import SimulatedWorld, all_actions

CITY = scenario(seed=3, riders=5, hours=1.5)._replace(demand=Demand(20.0, 3, opening=4, until_s=2_700.0))
MODEL = packaged_baseline()


@pytest.fixture(scope="module")
def samples() -> list[SimulatedSample]:
    return list(walk_simulated(CITY, EVERY_S))


def test_an_order_is_a_sample_until_it_is_handed_over(samples: list[SimulatedSample]) -> None:
    world = SimulatedWorld(CITY)
    for _ in all_actions(world):
        pass
    ends = hand_overs(world.truths.take())
    assert {sample.order_id for sample in samples} <= ends.keys()
    assert all(sample.t_ms + sample.true_s * 1_000 == pytest.approx(ends[sample.order_id]) for sample in samples)
    assert min(sample.true_s for sample in samples) >= 0.0
    legs = {sample.reading.features.leg for sample in samples}
    assert legs == {"unassigned", "to_restaurant", "at_restaurant", "to_customer", "at_customer"}


def test_what_comes_later_changes_no_sample(samples: list[SimulatedSample]) -> None:
    ends_s = 1_800.0
    shorter = list(walk_simulated(CITY._replace(duration_s=ends_s), EVERY_S))
    known = {(sample.order_id, sample.t_ms): sample.reading for sample in samples}
    compared = [sample for sample in shorter if sample.t_ms < START_MS + 1_000 * (ends_s - 300)]
    assert len(compared) > 100
    assert all(known[sample.order_id, sample.t_ms] == sample.reading for sample in compared)


def test_the_baseline_beats_the_best_constant(samples: list[SimulatedSample]) -> None:
    found = leg_errors(samples, predicted(MODEL, samples))
    assert found.mae < 0.6 * found.constant


def test_a_jump_of_the_eta_names_its_reason(samples: list[SimulatedSample]) -> None:
    found = jumps(samples, predicted(MODEL, samples))
    assert found.pairs > 1_000
    assert found.named_share >= 0.99


def answers_of(samples: list[SimulatedSample], *p50_s: float) -> list[EtaQuantiles]:
    return [EtaQuantiles(each, each + 50.0) for each in p50_s]


@pytest.mark.parametrize(
    ("because", "second_s", "expected"),
    [
        ((), 340.0, (0, 0)),
        ((), 341.0, (1, 0)),
        ((), 239.0, (1, 0)),
        (("stacked",), 341.0, (1, 1)),
    ],
    ids=["as much as P90 - P50", "more", "earlier", "more, for a reason"],
)
def test_a_jump_is_more_than_the_first_answer_says(
    samples: list[SimulatedSample], because: tuple[Any, ...], second_s: float, expected: tuple[int, int]
) -> None:
    reading = samples[0].reading
    reading = reading._replace(features=reading.features._replace(because=because))
    pair = [SimulatedSample("o-1", START_MS + at_ms, reading, 0.0) for at_ms in (0, 10_000)]
    found = jumps(pair, answers_of(pair, 300.0, second_s))
    assert (found.jumps, found.named) == expected
    assert jumps(pair, answers_of(pair, 300.0, second_s), every_s=5.0).pairs == 0


def test_leaving_out_is_making_unknown(samples: list[SimulatedSample]) -> None:
    readings = [sample.reading for sample in samples]
    assert all(WITHOUT_OF_ORDERS["preparation_left_s"](each).features.preparation_left_s is None for each in readings)
    placeless = [WITHOUT_OF_ORDERS["the location of the rider"](each) for each in readings]
    assert {each.features.leg for each in placeless} == {"unassigned", "to_restaurant", "to_customer"}
    assert all(each.way.to_restaurant is None for each in placeless if each.features.leg == "to_restaurant")
    assert all(each.way.to_customer is None for each in placeless if each.features.leg == "to_customer")


def test_the_tables_are_printed(samples: list[SimulatedSample]) -> None:
    text = "\n".join(lines(samples, MODEL))
    for title in ("at_restaurant", "worth of a feature", "without preparation_left_s", "name a reason"):
        assert title in text
