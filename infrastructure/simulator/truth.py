"""What really happened on each leg of each delivery. Pure."""

from __future__ import annotations

from typing import NamedTuple

from infrastructure.simulator.deliveries import SimulatedOrder, Verb
from infrastructure.simulator.scenario import Scenario

_OUTCOMES = {Verb.UNASSIGN: "unassigned", Verb.CANCEL: "cancelled"}


class LegTruth(NamedTuple):
    """What really happened on one leg, in epoch milliseconds and metres: one row of ``--truth``.

    ``outcome``: completed, unassigned or cancelled. ``arrived_ms``: when the rider truly reached the target;
    ``handover_ms``: when the food truly changed hands. ``reported_arrival_ms`` and ``reported_ms``: when the rider
    pressed "arrived", and picked up, completed or cancelled. None: it did not happen.
    """

    order_id: str
    leg: str
    rider_id: str
    outcome: str
    placed_ms: int
    food_ready_ms: int
    began_ms: int
    arrived_ms: int | None
    handover_ms: int | None
    reported_arrival_ms: int | None
    reported_ms: int
    ridden_m: float
    stacked: bool


class TruthLog:
    """Collects the legs that have ended."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._legs: list[LegTruth] = []

    def leg_ended(
        self, order: SimulatedOrder, odometer_m: float, verb: Verb, now_s: float, pressed_s: float | None
    ) -> None:
        """Add the order's current leg, which ``verb`` ends at ``now_s``; call it before the order's stage changes.

        ``pressed_s``: when the rider reports it; None if the dispatcher ended the leg.
        """
        ms = self._scenario.ms
        by_rider = pressed_s is not None
        self._legs.append(
            LegTruth(
                order.order_id,
                order.leg.value,
                order.rider_id or "",
                _OUTCOMES.get(verb, "completed"),
                ms(order.placed_s),
                ms(order.food_ready_s),
                ms(order.leg_began_s),
                None if order.arrived_s is None else ms(order.arrived_s),
                ms(now_s) if by_rider and verb is not Verb.CANCEL else None,
                None if order.arrived_press_s is None else ms(order.arrived_press_s),
                ms(now_s if pressed_s is None else pressed_s),
                round(odometer_m - order.leg_began_odometer_m, 1),
                order.stacked,
            )
        )

    def take(self) -> list[LegTruth]:
        """The legs that have ended since the previous call, in the order of their ends."""
        legs, self._legs = self._legs, []
        return legs
