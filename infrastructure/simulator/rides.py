"""A ride along streets as a list of phases of constant acceleration: where a rider is at any instant, exactly.

Pure. A ride is planned when it begins, so a simulation costs time per street and not per second, and no answer depends
on the steps in which a simulation is advanced.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from math import hypot, sqrt
from random import Random
from typing import NamedTuple

from infrastructure.simulator.city import City, Corner, LocalClock, Point, StreetTraffic, street_distance_m

ACCELERATION_MPS2 = 1.0
TURN_MPS = 3.0
"""Fastest speed around a corner."""
MIN_CRUISE_MPS = 1.0
RED_LIGHT_SHARE = 0.25
RED_LIGHT_S = (5.0, 30.0)
STRAIGHT_ON_SHARE = 0.75
"""Share of the corners where a rider who may choose goes straight on."""


class RideState(NamedTuple):
    """Where a rider is, the speed in m/s, and the metres ridden since the ride began."""

    point: Point
    speed_mps: float
    ridden_m: float


class RidePhase(NamedTuple):
    """A part of a ride with constant acceleration along one direction (a unit vector); a wait has speed 0."""

    begins_s: float
    lasts_s: float
    origin: Point
    direction: Point
    speed_mps: float
    acceleration_mps2: float
    ridden_m: float

    def at(self, now_s: float) -> RideState:
        seconds = min(max(0.0, now_s - self.begins_s), self.lasts_s)
        metres = self.speed_mps * seconds + self.acceleration_mps2 * seconds * seconds / 2
        point = self.origin[0] + self.direction[0] * metres, self.origin[1] + self.direction[1] * metres
        speed = max(0.0, self.speed_mps + self.acceleration_mps2 * seconds)
        return RideState(point, speed, self.ridden_m + metres)


class Crossing(NamedTuple):
    """The instant at which the rider leaves a corner: after the wait at a red light, if there is one."""

    leaves_s: float
    corner: Point
    speed_mps: float
    ridden_m: float
    phases: int
    """Number of the ride's phases up to here."""


class PlannedRide:
    """One ride to one target. It ends at the target, with speed 0."""

    def __init__(self, begins_s: float, target: Point, phases: list[RidePhase], crossings: list[Crossing]) -> None:
        self.begins_s = begins_s
        self.target = target
        self.phases = phases
        self.crossings = crossings
        self.ends_s = phases[-1].begins_s + phases[-1].lasts_s if phases else begins_s
        self._begins = [phase.begins_s for phase in phases]

    def at(self, now_s: float) -> RideState:
        """The motion at ``now_s``; after the end, at rest at the target."""
        if not self.phases or now_s >= self.ends_s:
            return RideState(self.target, 0.0, self.length_m)
        return self.phases[max(0, bisect_right(self._begins, now_s) - 1)].at(now_s)

    @property
    def length_m(self) -> float:
        """Metres from the beginning to the target."""
        if not self.phases:
            return 0.0
        last = self.phases[-1]
        return last.at(last.begins_s + last.lasts_s).ridden_m

    def when_left_m(self, metres: float) -> float:
        """The instant at which ``metres`` are left to ride; the beginning if the ride is shorter."""
        goal_m = self.length_m - metres
        if goal_m <= 0.0:
            return self.begins_s
        ends = [phase.at(phase.begins_s + phase.lasts_s).ridden_m for phase in self.phases]
        phase = self.phases[min(bisect_right(ends, goal_m), len(ends) - 1)]
        return phase.begins_s + min(phase.lasts_s, _seconds_for(goal_m - phase.ridden_m, phase))

    def crossing_after(self, now_s: float) -> Crossing | None:
        """The first corner that the rider leaves at or after ``now_s``; None on the last block."""
        return next((crossing for crossing in self.crossings if crossing.leaves_s >= now_s), None)


def _seconds_for(metres: float, phase: RidePhase) -> float:
    if phase.acceleration_mps2 == 0.0:
        return metres / phase.speed_mps if phase.speed_mps > 0.0 else 0.0
    speed_2 = phase.speed_mps**2 + 2.0 * phase.acceleration_mps2 * metres
    return (sqrt(max(0.0, speed_2)) - phase.speed_mps) / phase.acceleration_mps2


def route(city: City, start: Point, target: Point, chance: Random) -> list[Point]:
    """The points where a shortest way along streets begins, turns, crosses another street, and ends."""
    begins, ends = city.nearest_corners(start), city.nearest_corners(target)
    if len(begins) == 2 and begins == ends:
        return [start, target] if start != target else [start]

    def length_m(first: Corner, last: Corner) -> float:
        places = start, city.corner_m(first), city.corner_m(last), target
        return sum(street_distance_m(here, there) for here, there in pairwise(places))

    first, last = min(((a, b) for a in begins for b in ends), key=lambda ways: length_m(*ways))
    points = [start, *(city.corner_m(corner) for corner in _staircase(first, last, chance)), target]
    return [points[0], *(there for here, there in pairwise(points) if street_distance_m(here, there) > 1e-6)]


def _staircase(first: Corner, last: Corner, chance: Random) -> list[Corner]:
    """Every corner of a way without a detour."""
    (column, row), corners = first, [first]
    goes_east = chance.random() < 0.5
    while (column, row) != last:
        if column == last[0] or row == last[1]:
            goes_east = column != last[0]
        elif chance.random() >= STRAIGHT_ON_SHARE:
            goes_east = not goes_east
        if goes_east:
            column += 1 if last[0] > column else -1
        else:
            row += 1 if last[1] > row else -1
        corners.append((column, row))
    return corners


class RidePlanner:
    """Plans rides through the traffic of their hour."""

    def __init__(self, city: City, traffic: StreetTraffic, clock: LocalClock) -> None:
        self._city = city
        self._traffic = traffic
        self._clock = clock

    def plan(self, begins_s: float, start: Point, target: Point, cruise_mps: float, chance: Random) -> PlannedRide:
        """A ride that begins at rest."""
        return self._ride(PlannedRide(begins_s, target, [], []), begins_s, (start, 0.0, 0.0), cruise_mps, chance)

    def reroute(self, ride: PlannedRide, now_s: float, target: Point, cruise_mps: float, chance: Random) -> PlannedRide:
        """``ride`` with another target from its next corner on; on its last block it is first ridden to its end."""
        crossing = ride.crossing_after(now_s)
        if crossing is None:
            kept, from_s, before = ride, ride.ends_s, (ride.target, 0.0, ride.length_m)
        else:
            phases = ride.phases[: crossing.phases]
            crossings = [each for each in ride.crossings if each.leaves_s <= crossing.leaves_s]
            kept, from_s = PlannedRide(ride.begins_s, ride.target, phases, crossings), crossing.leaves_s
            before = crossing.corner, crossing.speed_mps, crossing.ridden_m
        return self._ride(
            PlannedRide(ride.begins_s, target, kept.phases, kept.crossings), from_s, before, cruise_mps, chance
        )

    def _ride(
        self, kept: PlannedRide, from_s: float, before: tuple[Point, float, float], cruise_mps: float, chance: Random
    ) -> PlannedRide:
        """The phases of ``kept``, then those from its end to its target; ``before``: corner, speed, metres."""
        start, speed, ridden_m = before
        phases, crossings, now_s = list(kept.phases), list(kept.crossings), from_s
        points = route(self._city, start, kept.target, chance)
        for index, (here, there) in enumerate(pairwise(points)):
            is_last = index == len(points) - 2
            fastest = self._fastest(here, there, now_s, cruise_mps)
            is_red = not is_last and chance.random() < RED_LIGHT_SHARE
            leave = 0.0
            if not (is_last or is_red):
                ahead = self._fastest(there, points[index + 2], now_s, cruise_mps)
                leave = min(fastest, ahead, TURN_MPS if _turns(here, points[index + 2]) else fastest)
            block = _block(now_s, here, there, (min(speed, fastest), fastest, leave), ridden_m)
            phases.extend(block)
            end = block[-1].at(block[-1].begins_s + block[-1].lasts_s)
            now_s, speed, ridden_m = block[-1].begins_s + block[-1].lasts_s, end.speed_mps, end.ridden_m
            if is_red:
                phases.append(RidePhase(now_s, chance.uniform(*RED_LIGHT_S), there, (0.0, 0.0), 0.0, 0.0, ridden_m))
                now_s, speed = now_s + phases[-1].lasts_s, 0.0
            if not is_last:
                crossings.append(Crossing(now_s, there, speed, ridden_m, len(phases)))
        return PlannedRide(kept.begins_s, kept.target, phases, crossings)

    def _fastest(self, here: Point, there: Point, now_s: float, cruise_mps: float) -> float:
        slowdown = self._traffic.slowdown(here, there, self._clock.hour_of_week(now_s))
        return max(MIN_CRUISE_MPS, cruise_mps / slowdown)


def _turns(before: Point, after: Point) -> bool:
    return min(abs(before[0] - after[0]), abs(before[1] - after[1])) > 1e-6


def _block(
    now_s: float, here: Point, there: Point, speeds: tuple[float, float, float], ridden_m: float
) -> list[RidePhase]:
    """Accelerate, cruise, brake: the phases of one block. ``speeds``: when it begins, fastest, when it ends."""
    begin, fastest, end = speeds
    length_m = hypot(there[0] - here[0], there[1] - here[1])
    direction = (there[0] - here[0]) / length_m, (there[1] - here[1]) / length_m
    double = 2.0 * ACCELERATION_MPS2 * length_m
    end = min(end, sqrt(begin * begin + double))
    if begin * begin - end * end >= double:
        # Too short to brake gently.
        brake = (begin * begin - end * end) / (2.0 * length_m)
        return [RidePhase(now_s, (begin - end) / brake, here, direction, begin, -brake, ridden_m)]
    peak = min(fastest, sqrt((double + begin * begin + end * end) / 2.0))
    up_m = (peak * peak - begin * begin) / (2.0 * ACCELERATION_MPS2)
    down_m = (peak * peak - end * end) / (2.0 * ACCELERATION_MPS2)
    even_m = max(0.0, length_m - up_m - down_m)
    phases: list[RidePhase] = []
    for metres, speed, acceleration, seconds in (
        (up_m, begin, ACCELERATION_MPS2, (peak - begin) / ACCELERATION_MPS2),
        (even_m, peak, 0.0, even_m / peak),
        (down_m, peak, -ACCELERATION_MPS2, (peak - end) / ACCELERATION_MPS2),
    ):
        if seconds > 1e-9:
            phases.append(RidePhase(now_s, seconds, here, direction, speed, acceleration, ridden_m))
            here = here[0] + direction[0] * metres, here[1] + direction[1] * metres
            now_s, ridden_m = now_s + seconds, ridden_m + metres
    return phases
