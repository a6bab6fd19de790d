"""Scenarios for tests of the simulator, and everything that a world sends in one of them."""

from __future__ import annotations

from functools import lru_cache

from infrastructure.simulator.actions import Action, SentCommand, Upload
from infrastructure.simulator.deliveries import Habits
from infrastructure.simulator.demand import Demand
from infrastructure.simulator.scenario import PhoneModel, Scenario
from infrastructure.simulator.truth import LegTruth
from infrastructure.simulator.world import SimulatedWorld, all_actions

START_MS = 1_700_000_000_000
"""2023-11-14 23:13:20 in Barcelona."""

HOUR_S = 3_600.0
BAD_PHONE = PhoneModel(every_s=20.0, no_fix_per_hour=60.0, offline_per_hour=30.0, repeat_share=0.2)
LIVELY = Habits(stack_share=0.9, decline_share=0.3, cancel_share=0.2, refused_share=0.1)


def busy(seed: int = 1, duration_s: float = 3 * HOUR_S, until_s: float = HOUR_S, riders: int = 6) -> Scenario:
    """Six riders with bad phones, many orders in the first hour, and two hours to deliver them."""
    demand = Demand(orders_per_hour=30.0, restaurants=4, opening=3, until_s=until_s)
    return Scenario(str(seed), START_MS, duration_s, riders, phone=BAD_PHONE, demand=demand, habits=LIVELY)


def only_pings(seed: str = "1", duration_s: float = 600.0, riders: int = 5, every_s: float = 2.0) -> Scenario:
    """Riders without orders."""
    phone = BAD_PHONE._replace(every_s=every_s, offline_per_hour=60.0)
    return Scenario(seed, START_MS, duration_s, riders, phone=phone, demand=Demand(orders_per_hour=0.0))


def simulate(scenario: Scenario) -> tuple[list[Action], list[LegTruth]]:
    """Everything that a world sends, and the legs of its truth."""
    world = SimulatedWorld(scenario)
    actions = list(all_actions(world))
    return actions, world.truths.take()


_simulated = lru_cache(maxsize=4)(simulate)
"""One simulation takes half a second, and most tests look at the same one. No test may change what it returns."""


def sent(scenario: Scenario) -> list[Action]:
    return _simulated(scenario)[0]


def uploads(scenario: Scenario) -> list[Upload]:
    return [action for action in sent(scenario) if isinstance(action, Upload)]


def commands(scenario: Scenario) -> list[SentCommand]:
    return [action for action in sent(scenario) if isinstance(action, SentCommand)]


def truths(scenario: Scenario) -> list[LegTruth]:
    """The legs of a whole simulation."""
    return _simulated(scenario)[1]
