"""Simulates the true movement of riders in a city of square blocks. A state machine that is stepped in time.

It uses no clock and no I/O, and takes its random numbers as an argument.
"""

from __future__ import annotations

from enum import Enum
from math import copysign, cos, degrees, hypot, radians, sqrt
from random import Random
from typing import NamedTuple

from domain.features.geo import EARTH_RADIUS_M


class City(NamedTuple):
    """A grid of ``blocks`` × ``blocks`` blocks around a point in WGS84 degrees, with a street every ``block_m`` metres.

    The default is Barcelona's Eixample, whose streets are 133.3 m apart.
    """

    latitude: float = 41.3917
    longitude: float = 2.1649
    block_m: float = 133.3
    blocks: int = 16

    def corner_m(self, column: int, row: int) -> tuple[float, float]:
        """The corner at ``column``, ``row`` (each 0 to ``blocks``), in metres east and north of the centre."""
        half = self.blocks * self.block_m / 2
        return column * self.block_m - half, row * self.block_m - half

    def degrees_of(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Latitude and longitude of a point, on the sphere of ``haversine_mm``; a city is small enough to be flat."""
        latitude = self.latitude + degrees(north_m / EARTH_RADIUS_M)
        return latitude, self.longitude + degrees(east_m / (EARTH_RADIUS_M * cos(radians(self.latitude))))


STEP_S = 0.5
"""Longest single step. At 7 m/s a rider then turns a corner at most 3.5 m late, well below GPS noise."""

ACCELERATION_MPS2 = 1.0
CREEP_MPS = 0.5
"""Minimum speed of a moving rider: braking by the square root of the distance alone would never reach the corner."""

RED_LIGHT_SHARE = 0.25
RED_LIGHT_S = (5.0, 30.0)
DWELL_S = {"restaurant": (60.0, 300.0), "customer": (30.0, 150.0)}
CRUISE_MPS = (3.5, 5.5, 7.0)
"""Slowest, mean and fastest: bicycles, and e-bikes that are limited to 25 km/h."""


class Activity(Enum):
    """What a rider is doing."""

    RIDING = "riding"
    """Moving along a street."""
    RED_LIGHT = "red light"
    """Waiting at a corner until the light changes."""
    RESTAURANT = "restaurant"
    """Waiting at a restaurant for the order."""
    CUSTOMER = "customer"
    """Handing the order over at the customer's."""


Corner = tuple[int, int]


class SimulatedRider(NamedTuple):
    """One rider's true state: metres east and north of the city's centre, speed in m/s, metres ridden so far.

    ``next_corner`` is the end of the current street segment, ``goal`` the corner of the restaurant or customer.
    """

    east_m: float
    north_m: float
    speed_mps: float
    odometer_m: float
    cruise_mps: float
    activity: Activity
    wait_s: float
    next_corner: Corner
    goal: Corner
    goal_is_customer: bool
    light_is_red: bool


def new_rider(city: City, chance: Random) -> SimulatedRider:
    """A rider who waits at a corner or is about to leave it."""
    slowest, mean, fastest = CRUISE_MPS
    corner = _any_corner(city, chance)
    rider = SimulatedRider(
        *city.corner_m(*corner),
        speed_mps=0.0,
        odometer_m=0.0,
        cruise_mps=min(fastest, max(slowest, chance.gauss(mean, 1.0))),
        activity=Activity.RESTAURANT,
        wait_s=max(0.0, chance.uniform(-120.0, 60.0)),  # two of three riders are under way when the day begins
        next_corner=corner,
        goal=corner,
        goal_is_customer=False,
        light_is_red=False,
    )
    return rider if rider.wait_s > 0.0 else _next_goal(rider, city, chance)


def advance(rider: SimulatedRider, seconds: float, city: City, chance: Random) -> SimulatedRider:
    """The rider ``seconds`` later."""
    while seconds > 1e-9:
        step_s = min(seconds, STEP_S)
        rider = _step(rider, step_s, city, chance)
        seconds -= step_s
    return rider


def _step(rider: SimulatedRider, dt_s: float, city: City, chance: Random) -> SimulatedRider:
    if rider.activity is not Activity.RIDING:
        wait_s = rider.wait_s - dt_s
        if wait_s > 0.0:
            return rider._replace(wait_s=wait_s, speed_mps=0.0)
        return _leave(rider, city, chance)
    speed = min(rider.cruise_mps, rider.speed_mps + ACCELERATION_MPS2 * dt_s)
    if _stops_at_next(rider):
        speed = min(speed, sqrt(2.0 * ACCELERATION_MPS2 * _left_m(rider, city)))
    speed = max(CREEP_MPS, speed)
    return _ride(rider._replace(speed_mps=speed), speed * dt_s, city, chance)


def _ride(rider: SimulatedRider, metres: float, city: City, chance: Random) -> SimulatedRider:
    while True:
        left_m = _left_m(rider, city)
        if metres < left_m:
            return _moved(rider, metres, left_m, city)
        rider = _moved(rider, left_m, left_m, city)
        metres -= left_m
        if _stops_at_next(rider):
            return _stop(rider, chance)
        rider = _next_corner(rider, chance)


def _moved(rider: SimulatedRider, metres: float, left_m: float, city: City) -> SimulatedRider:
    east, north = city.corner_m(*rider.next_corner)
    share = metres / left_m if left_m > 0.0 else 1.0
    return rider._replace(
        east_m=rider.east_m + share * (east - rider.east_m),
        north_m=rider.north_m + share * (north - rider.north_m),
        odometer_m=rider.odometer_m + metres,
    )


def _left_m(rider: SimulatedRider, city: City) -> float:
    east, north = city.corner_m(*rider.next_corner)
    return hypot(east - rider.east_m, north - rider.north_m)


def _stops_at_next(rider: SimulatedRider) -> bool:
    return rider.light_is_red or rider.next_corner == rider.goal


def _stop(rider: SimulatedRider, chance: Random) -> SimulatedRider:
    if rider.next_corner != rider.goal:
        return rider._replace(activity=Activity.RED_LIGHT, wait_s=chance.uniform(*RED_LIGHT_S), speed_mps=0.0)
    activity = Activity.CUSTOMER if rider.goal_is_customer else Activity.RESTAURANT
    return rider._replace(activity=activity, wait_s=chance.uniform(*DWELL_S[activity.value]), speed_mps=0.0)


def _leave(rider: SimulatedRider, city: City, chance: Random) -> SimulatedRider:
    if rider.activity is Activity.RED_LIGHT:
        return _next_corner(rider._replace(activity=Activity.RIDING, wait_s=0.0), chance)
    return _next_goal(rider, city, chance)


def _next_goal(rider: SimulatedRider, city: City, chance: Random) -> SimulatedRider:
    goal = rider.next_corner
    while goal == rider.next_corner:
        goal = _any_corner(city, chance)
    is_customer = rider.activity is Activity.RESTAURANT
    rider = rider._replace(activity=Activity.RIDING, wait_s=0.0, goal=goal, goal_is_customer=is_customer)
    return _next_corner(rider, chance)


def _next_corner(rider: SimulatedRider, chance: Random) -> SimulatedRider:
    """Head for the next corner: one block towards the goal, along either axis that leads there."""
    column, row = rider.next_corner
    east, north = rider.goal[0] - column, rider.goal[1] - row
    goes_east = bool(east) and (not north or chance.random() < 0.5)
    corner = (column + round(copysign(1, east)), row) if goes_east else (column, row + round(copysign(1, north)))
    return rider._replace(next_corner=corner, light_is_red=chance.random() < RED_LIGHT_SHARE)


def _any_corner(city: City, chance: Random) -> Corner:
    return chance.randint(0, city.blocks), chance.randint(0, city.blocks)
