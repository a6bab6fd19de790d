"""A rider's round: rides to the nearest target, waits for food, hands orders over, and presses buttons. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from infrastructure.simulator.actions import Activity, SentCommand
from infrastructure.simulator.agenda import Agenda
from infrastructure.simulator.commands import Commands
from infrastructure.simulator.deliveries import ArrivedPress, SimulatedOrder, TripLeg, TrueStage, Verb
from infrastructure.simulator.restaurants import Restaurants
from infrastructure.simulator.riders import SimulatedRider, riding
from infrastructure.simulator.rides import RidePlanner
from infrastructure.simulator.scenario import Scenario
from infrastructure.simulator.truth import TruthLog

IDLE_S = (30.0, 240.0)
"""How long a rider without an order waits before riding to another busy street."""


class Rounds:
    """Moves riders from target to target. Every act is scheduled on the agenda."""

    def __init__(
        self, scenario: Scenario, agenda: Agenda, planner: RidePlanner, restaurants: Restaurants, truths: TruthLog
    ) -> None:
        self._scenario = scenario
        self._habits = scenario.habits
        self._agenda = agenda
        self._planner = planner
        self._restaurants = restaurants
        self._truths = truths
        self._commands = Commands(scenario)
        self._chance = Random(f"{scenario.seed}/rounds")

    def begin_shift(self, rider: SimulatedRider) -> None:
        """Let a rider wait for orders."""
        rider.on_shift, rider.is_leaving = True, False
        self._go_on(rider)

    def end_shift(self, rider: SimulatedRider) -> None:
        """Send a rider without orders home."""
        rider.on_shift, rider.is_leaving = False, False
        rider.stop(self._agenda.now_s)
        rider.activity, rider.serving = Activity.IDLE, None
        rider.plan += 1

    def take(self, rider: SimulatedRider, order: SimulatedOrder) -> None:
        """The rider has been given an order, and rides to its restaurant if that is nearer than the current target."""
        now_s = self._agenda.now_s
        order.happens(Verb.ASSIGN)
        order.rider_id, order.leg_began_s, order.arrived_s = rider.rider_id, now_s, None
        order.leg_began_odometer_m = rider.motion(now_s).ridden_m
        rider.orders.append(order)
        if len(rider.orders) > 1:
            for each in rider.orders:
                each.stacked = True
        if rider.activity not in {Activity.RESTAURANT, Activity.CUSTOMER}:
            self._go_on(rider)

    def drop(self, rider: SimulatedRider, order: SimulatedOrder, verb: Verb) -> None:
        """The rider's order has been unassigned or cancelled by the dispatcher."""
        self._truths.leg_ended(order, rider.motion(self._agenda.now_s).ridden_m, verb, self._agenda.now_s, None)
        order.happens(verb)
        rider.orders.remove(order)
        if rider.serving is order:
            self._go_on(rider)

    def _go_on(self, rider: SimulatedRider) -> None:
        """Ride to the nearest target; without an order wait, and later ride to a restaurant's street."""
        now_s = self._agenda.now_s
        order = rider.next_order(now_s)
        if (
            order is not None
            and order is rider.serving
            and rider.ride is not None
            and rider.ride.target == order.target
        ):
            return
        rider.serving = order
        rider.plan += 1
        if order is None:
            self._wait_idle(rider)
            return
        self._ride(rider, order)

    def _ride(self, rider: SimulatedRider, order: SimulatedOrder | None) -> None:
        now_s, plan = self._agenda.now_s, rider.plan
        target = order.target if order is not None else self._restaurants.any(rider.chance).at
        if rider.ride is not None and now_s < rider.ride.ends_s:
            rider.ride = self._planner.reroute(rider.ride, now_s, target, rider.cruise_mps, rider.chance)
        else:
            rider.stop(now_s)
            rider.ride = self._planner.plan(now_s, rider.at, target, rider.cruise_mps, rider.chance)
        rider.activity = riding(order)
        self._agenda.at(rider.ride.ends_s, lambda: self._reaches(rider, plan))
        if order is not None and order.leg is TripLeg.TO_CUSTOMER and order.press is ArrivedPress.EARLY:
            early_s = rider.ride.when_left_m(self._chance.uniform(*self._habits.early_m))
            self._at(rider, max(early_s, now_s), lambda: self._press_arrived(rider, order))

    def _wait_idle(self, rider: SimulatedRider) -> None:
        rider.activity = Activity.IDLE
        self._at(rider, self._agenda.now_s + rider.chance.uniform(*IDLE_S), lambda: self._ride(rider, None))

    def _reaches(self, rider: SimulatedRider, plan: int) -> None:
        if rider.plan != plan:
            return
        now_s, order = self._agenda.now_s, rider.serving
        rider.stop(now_s)
        if order is None:
            self._wait_idle(rider)
        elif order.leg is TripLeg.TO_RESTAURANT:
            rider.activity, order.arrived_s = Activity.RESTAURANT, now_s
            receives_s = max(now_s, order.food_ready_s) + self._habits.pick_up.draw(self._chance)
            self._at(rider, receives_s, lambda: self._picks_up(rider, order))
        else:
            rider.activity, order.arrived_s = Activity.CUSTOMER, now_s
            hands_over_s = now_s + self._habits.hand_over.draw(self._chance)
            if order.press in {ArrivedPress.ON_TIME, ArrivedPress.LATE}:
                late_s = self._habits.late_s if order.press is ArrivedPress.LATE else self._habits.press_s
                press_s = min(now_s + self._chance.uniform(*late_s), hands_over_s - 0.5)
                self._at(rider, press_s, lambda: self._press_arrived(rider, order))
            self._at(rider, hands_over_s, lambda: self._hands_over(rider, order))

    def _picks_up(self, rider: SimulatedRider, order: SimulatedOrder) -> None:
        now_s = self._agenda.now_s
        pressed_s = now_s + self._chance.uniform(*self._habits.press_s)
        odometer_m = rider.motion(now_s).ridden_m
        self._truths.leg_ended(order, odometer_m, Verb.PICK_UP, now_s, pressed_s)
        order.happens(Verb.PICK_UP)
        order.picked_up_press_s, order.arrived_s = pressed_s, None
        order.leg_began_s, order.leg_began_odometer_m = now_s, odometer_m
        self._press(rider, order, Verb.PICK_UP, pressed_s)
        self._go_on(rider)

    def _press_arrived(self, rider: SimulatedRider, order: SimulatedOrder) -> None:
        if order.stage is not TrueStage.PICKED_UP:
            return
        # A press follows that of the pick-up, however short the way was.
        order.arrived_press_s = max(self._agenda.now_s, order.picked_up_press_s + 0.1)
        order.happens(Verb.ARRIVE)
        self._press(rider, order, Verb.ARRIVE, order.arrived_press_s)

    def _hands_over(self, rider: SimulatedRider, order: SimulatedOrder) -> None:
        now_s = self._agenda.now_s
        verb = Verb.CANCEL if order.is_refused else Verb.COMPLETE
        pressed_s = max(now_s, order.picked_up_press_s, order.arrived_press_s or 0.0)
        pressed_s += self._chance.uniform(*self._habits.press_s)
        self._truths.leg_ended(order, rider.motion(now_s).ridden_m, verb, now_s, pressed_s)
        order.happens(verb)
        body = {"reason": "the customer did not take it"} if order.is_refused else {}
        self._press(rider, order, verb, pressed_s, body)
        rider.orders.remove(order)
        self._go_on(rider)

    def _press(
        self, rider: SimulatedRider, order: SimulatedOrder, verb: Verb, at_s: float, body: dict[str, Any] | None = None
    ) -> None:
        command = self._commands.command(order, verb, at_s, body or {})
        self._agenda.at(at_s, lambda: self._pressed(rider, command), last=True)

    def _pressed(self, rider: SimulatedRider, command: SentCommand) -> None:
        for action in rider.phone.press(command):
            self._agenda.send(action)

    def _at(self, rider: SimulatedRider, at_s: float, act: Callable[[], None]) -> None:
        """Schedule an act of the rider's present plan; after a change of plan it has no effect."""
        plan = rider.plan

        def if_still_planned() -> None:
            if rider.plan == plan:
                act()

        self._agenda.at(at_s, if_still_planned)
