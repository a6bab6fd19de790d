"""The simulated world, advanced in time: ``advance(world, seconds)`` gives what was sent meanwhile.

Pure: no clock, no I/O, no HTTP. The scenario determines every action, in whatever steps the world is advanced.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from infrastructure.simulator.actions import Action, SentCommand, UploadKind
from infrastructure.simulator.agenda import Agenda
from infrastructure.simulator.city import LocalClock, StreetTraffic
from infrastructure.simulator.deliveries import SimulatedOrder
from infrastructure.simulator.demand import arrivals
from infrastructure.simulator.dispatcher import Dispatcher
from infrastructure.simulator.orders import Customers
from infrastructure.simulator.restaurants import Restaurants
from infrastructure.simulator.riders import SimulatedRider, home, new_rider
from infrastructure.simulator.rides import RidePlanner
from infrastructure.simulator.rounds import Rounds
from infrastructure.simulator.scenario import Scenario, Shift, rider_ids, shifts_of
from infrastructure.simulator.truth import TruthLog

END_OF_SHIFT_RETRY_S = 30.0
"""How often a rider whose shift is over, but who still has an order, is checked."""


class SimulatedWorld:
    """All riders, restaurants, customers and the dispatcher of one city."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.truths = TruthLog(scenario)
        clock = LocalClock(scenario.start_ms, scenario.city.time_zone)
        self._agenda = Agenda(self._on_sent)
        restaurants = Restaurants(scenario.city, max(1, scenario.demand.restaurants), clock, scenario.seed)
        planner = RidePlanner(scenario.city, StreetTraffic(scenario.city, scenario.seed), clock)
        self._rounds = Rounds(scenario, self._agenda, planner, restaurants, self.truths)
        self.riders = {rider_id: new_rider(rider_id, scenario) for rider_id in rider_ids(scenario.riders)}
        self._dispatcher = Dispatcher(scenario, self._agenda, self._rounds, self.riders)
        self._customers = Customers(scenario, restaurants)
        self._arrivals = arrivals(scenario.demand, clock, scenario.seed)
        for rider in self.riders.values():
            self._next_shift(rider, shifts_of(rider.rider_id, scenario))
        self._next_order()

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return self._agenda.now_s

    @property
    def open_orders(self) -> dict[str, SimulatedOrder]:
        """The orders whose end has not been reported, by id."""
        return self._dispatcher.orders

    def _on_sent(self, action: Action) -> None:
        if isinstance(action, SentCommand) and action.kind is not UploadKind.REPEAT:
            self._dispatcher.received(action)

    def _next_order(self) -> None:
        at_s = next(self._arrivals, None)
        if at_s is not None:
            self._agenda.at(at_s, self._place)

    def _place(self) -> None:
        self._dispatcher.placed(self._customers.order(self._agenda.now_s))
        self._next_order()

    def _next_shift(self, rider: SimulatedRider, shifts: Iterator[Shift]) -> None:
        shift = next(shifts, None)
        if shift is not None:
            self._agenda.at(shift.begins_s, lambda: self._begin_shift(rider, shift, shifts))

    def _begin_shift(self, rider: SimulatedRider, shift: Shift, shifts: Iterator[Shift]) -> None:
        if shift.begins_s > 0.0:
            home(rider, self.scenario.city)
        self._rounds.begin_shift(rider)
        self._next_fix(rider, self._agenda.now_s)
        if isfinite(shift.ends_s):
            self._agenda.at(shift.ends_s, lambda: self._end_shift(rider, shifts))

    def _end_shift(self, rider: SimulatedRider, shifts: Iterator[Shift]) -> None:
        now_s = self._agenda.now_s
        rider.is_leaving = True
        if rider.known_orders or rider.orders:
            self._agenda.at(now_s + END_OF_SHIFT_RETRY_S, lambda: self._end_shift(rider, shifts))
            return
        self._rounds.end_shift(rider)
        self._send_all(rider.phone.close(now_s))
        self._next_shift(rider, shifts)

    def _next_fix(self, rider: SimulatedRider, not_before_s: float = 0.0) -> None:
        at_s = rider.phone.next_fix_s(not_before_s)
        self._agenda.at(at_s, lambda: self._fix(rider, at_s))

    def _fix(self, rider: SimulatedRider, at_s: float) -> None:
        if rider.on_shift:
            self._send_all(rider.phone.fix(at_s, rider.truth(at_s)))
            self._next_fix(rider)

    def _send_all(self, actions: list[Action]) -> None:
        for action in actions:
            self._agenda.send(action)

    def advance(self, seconds: float) -> list[Action]:
        """Go on by ``seconds``, at most to the end of the scenario. Returns what was sent, in the order of sending."""
        self._agenda.run_until(min(self._agenda.now_s + seconds, self.scenario.duration_s))
        return self._agenda.take_sent()

    def finish(self) -> list[Action]:
        """End the simulation. Returns what the phones still held and what was under way, in the order of sending."""
        for rider in self.riders.values():
            self._send_all(rider.phone.close(self._agenda.now_s))
        self._agenda.finish()
        # A press that was under way may have met an offline phone.
        for rider in self.riders.values():
            self._send_all(rider.phone.close(self._agenda.now_s))
        self._agenda.finish()
        return self._agenda.take_sent()


def advance(world: SimulatedWorld, seconds: float) -> list[Action]:
    """``SimulatedWorld.advance``."""
    return world.advance(seconds)


STEP_S = 1.0
"""Steps in which a whole simulation is made: short, so that a run in real time is never far ahead of the clock."""


def all_actions(world: SimulatedWorld) -> Iterator[Action]:
    """Everything that the world sends to the end of its scenario, in the order of sending."""
    while world.now_s < world.scenario.duration_s:
        yield from world.advance(STEP_S)
    yield from world.finish()
