"""The true state of simulated riders: where they are, what they do, and which order they serve next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from infrastructure.simulator.actions import Activity, RiderTruth
from infrastructure.simulator.city import City, Point, street_distance_m
from infrastructure.simulator.deliveries import SimulatedOrder, TripLeg
from infrastructure.simulator.phone import RiderPhone
from infrastructure.simulator.rides import PlannedRide, RideState
from infrastructure.simulator.scenario import Scenario

CRUISE_MPS = (3.5, 5.5, 7.0)
"""Slowest, mean and fastest: bicycles, and e-bikes that are limited to 25 km/h."""

MAX_ORDERS = 2
"""Orders that a rider carries at once."""


@dataclass(eq=False)
class SimulatedRider:
    """One rider. ``orders`` are those truly carried; ``known_orders`` those that the dispatcher knows of.

    The two differ while the report of a hand-over is not received yet. ``plan`` counts the changes of what the rider
    does next: an act that was scheduled for an earlier plan has no effect.
    """

    rider_id: str
    phone: RiderPhone
    chance: Random
    cruise_mps: float
    at: Point
    on_shift: bool = False
    is_leaving: bool = False
    """The shift is over; the rider still delivers what is on board, and gets no other order."""
    activity: Activity = Activity.IDLE
    ride: PlannedRide | None = None
    odometer_m: float = 0.0
    """Metres ridden before the current ride."""
    orders: list[SimulatedOrder] = field(default_factory=list)
    known_orders: set[str] = field(default_factory=set)
    serving: SimulatedOrder | None = None
    """The order whose target the rider rides to or is at."""
    plan: int = 0

    def motion(self, now_s: float) -> RideState:
        """Where the rider is, and the metres ridden since the simulation began."""
        if self.ride is None:
            return RideState(self.at, 0.0, self.odometer_m)
        motion = self.ride.at(now_s)
        return motion._replace(ridden_m=self.odometer_m + motion.ridden_m)

    def truth(self, now_s: float) -> RiderTruth:
        motion = self.motion(now_s)
        return RiderTruth(motion.point, motion.speed_mps, motion.ridden_m, self.activity)

    def stop(self, now_s: float) -> None:
        """End the ride where the rider is."""
        motion = self.motion(now_s)
        self.at, self.odometer_m, self.ride = motion.point, motion.ridden_m, None

    def next_order(self, now_s: float) -> SimulatedOrder | None:
        """The order with the nearest target along streets; ties by order id. None without an order."""
        here = self.motion(now_s).point
        return min(self.orders, key=lambda order: (street_distance_m(here, order.target), order.order_id), default=None)


def new_rider(rider_id: str, scenario: Scenario) -> SimulatedRider:
    """A rider who is at a random corner and not on shift yet."""
    chance = Random(f"{scenario.seed}/{rider_id}/way")
    slowest, mean, fastest = CRUISE_MPS
    cruise_mps = min(fastest, max(slowest, chance.gauss(mean, 1.0)))
    return SimulatedRider(
        rider_id, RiderPhone(rider_id, scenario), chance, cruise_mps, scenario.city.any_corner(chance)
    )


def riding(order: SimulatedOrder | None) -> Activity:
    """The activity of a rider on the way to an order's target."""
    if order is None:
        return Activity.IDLE
    return Activity.TO_RESTAURANT if order.leg is TripLeg.TO_RESTAURANT else Activity.TO_CUSTOMER


def home(rider: SimulatedRider, city: City) -> None:
    """Move the rider to where a shift begins. Between two shifts the phone is off, so no ping shows the way."""
    rider.at, rider.ride = city.any_corner(rider.chance), None
