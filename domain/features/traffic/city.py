"""The pace and the traffic index of a cell and heading, from the sums of all riders. Pure look-ups with shrinkage.

A cell that few riders have crossed says little, so each level is shrunk to the next coarser one: the pace is
(Σ time + K · coarser pace) ÷ (Σ distance + K), with a weight K of metres (empirical Bayes; B. Efron and C. Morris,
"Stein's Estimation Rule and Its Competitors", JASA 68, 1973). First the usual pace: fleet → parent cell → cell → cell
and heading. Then the hour of the week: fleet → parent cell. Then the last 30 minutes: fleet → cell and heading, if at
least three riders crossed it within five of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from domain.features.traffic.steps import BUCKET_MS, hour_of_week, parent_of

Sums = tuple[int, int]
"""Σ milliseconds and Σ millimetres."""

NONE: Sums = (0, 0)

RECENT_BUCKETS = 6
"""The last 30 minutes of event time."""

MIN_RIDERS = 3
"""Fewer riders in a cell are single rides: no traffic, and the way of one person."""

FLEET_MIN_MM = 1_000_000
"""Below one kilometre ridden by the whole fleet, no pace is known."""

FREE_FLOW_MIN_MM = 10_000_000
"""An hour of the week counts for the free-flow pace of a cell from 10 km ridden in it."""

PLACE_WEIGHT_MM = 5_000_000
HOUR_WEIGHT_MM = 20_000_000
HOUR_FLEET_WEIGHT_MM = 50_000_000
RECENT_FLEET_WEIGHT_MM = 20_000_000
RECENT_WEIGHT_MM = 3_000_000


class TrafficLevels(NamedTuple):
    """The sums by level. ``headings``: by cell and heading octant; ``hours``: by cell, then by hour of the week."""

    headings: Mapping[tuple[int, int], Sums]
    cells: Mapping[int, Sums]
    parents: Mapping[int, Sums]
    fleet: Sums
    hours: Mapping[int, Mapping[int, Sums]]
    parent_hours: Mapping[int, Mapping[int, Sums]]
    fleet_hours: Mapping[int, Sums]
    recent: Mapping[tuple[int, int], tuple[int, int, int]]
    """Of the last 30 minutes: ``recent_traffic``."""
    recent_fleet: Sums


def traffic_levels(
    headings: Mapping[tuple[int, int], Sums],
    hours: Mapping[int, Mapping[int, Sums]],
    recent: Mapping[tuple[int, int], tuple[int, int, int]],
) -> TrafficLevels:
    """The levels, from the finest sums of each kind. ``hours`` is by cell, then by hour of the week."""
    cells = _summed((cell, sums) for (cell, _), sums in headings.items())
    parents = _summed((parent_of(cell), sums) for cell, sums in cells.items())
    by_parent: defaultdict[int, list[tuple[int, Sums]]] = defaultdict(list)
    for cell, of_cell in hours.items():
        by_parent[parent_of(cell)] += of_cell.items()
    return TrafficLevels(
        headings,
        cells,
        parents,
        _total(cells.values()),
        hours,
        {parent: _summed(of_parent) for parent, of_parent in by_parent.items()},
        _summed(each for of_cell in hours.values() for each in of_cell.items()),
        recent,
        _total(recent.values()),
    )


def recent_traffic(buckets: Iterable[Mapping[str, tuple[int, ...]]]) -> dict[str, tuple[int, int, int]]:
    """Σ ms, Σ mm and riders by field, from (ms, mm, riders) of each bucket over all shards.

    Riders: those of the bucket with the most, not the sum over the buckets. Within a bucket each rider counts once; two
    buckets may hold the same rider, who would pass for two. So at least that many riders crossed the cell, and it
    costs nothing. The exact number would need the ids of the riders in the sums.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for bucket in buckets:
        for field, (ms, mm, riders) in bucket.items():
            held_ms, held_mm, most = found.get(field, (0, 0, 0))
            found[field] = held_ms + ms, held_mm + mm, max(most, riders)
    return found


def _summed(items: Iterable[tuple[int, Sums]]) -> dict[int, Sums]:
    found: dict[int, Sums] = {}
    for key, (ms, mm) in items:
        held_ms, held_mm = found.get(key, NONE)
        found[key] = held_ms + ms, held_mm + mm
    return found


def _total(sums: Iterable[tuple[int, ...]]) -> Sums:
    ms = mm = 0
    for each in sums:
        ms, mm = ms + each[0], mm + each[1]
    return ms, mm


class CityTraffic:
    """Paces in seconds a kilometre of one set of sums. Each is computed once: an ETA asks for up to a dozen cells."""

    def __init__(self, levels: TrafficLevels) -> None:
        self._levels = levels
        self._paces: dict[tuple[int, int, int], float] = {}
        self._free_flow: dict[int, float | None] = {}

    def fleet_pace(self) -> float | None:
        """The pace of all riders over all time, s/km; None below one kilometre."""
        ms, mm = self._levels.fleet
        return None if mm < FLEET_MIN_MM else ms / mm * 1_000.0

    def pace(self, cell: int, octant: int, at_ms: int) -> float | None:
        """The pace to expect in a cell for a heading, s/km; None if the fleet has not ridden one kilometre."""
        if self._levels.fleet[1] < FLEET_MIN_MM:
            return None
        key = (cell, octant, hour_of_week(at_ms // BUCKET_MS))
        found = self._paces.get(key)
        if found is None:
            found = self._paces[key] = 1_000.0 * self._pace(*key)
        return found

    def index(self, cell: int, octant: int, at_ms: int) -> float | None:
        """Free-flow pace ÷ pace: 1 is free, 0.5 takes twice as long. None if the free-flow pace is unknown."""
        pace = self.pace(cell, octant, at_ms)
        free = self.free_flow_pace(cell)
        return None if pace is None or free is None else free / pace

    def free_flow_pace(self, cell: int) -> float | None:
        """The lowest hour-of-week pace with at least 10 km ridden in the cell, else in its parent, s/km."""
        if cell not in self._free_flow:
            lowest = _lowest(self._levels.hours.get(cell))
            if lowest is None:
                lowest = _lowest(self._levels.parent_hours.get(parent_of(cell)))
            self._free_flow[cell] = lowest
        return self._free_flow[cell]

    def _pace(self, cell: int, octant: int, hour: int) -> float:
        levels, parent = self._levels, parent_of(cell)
        fleet = levels.fleet[0] / levels.fleet[1]
        of_parent = _shrunk(levels.parents.get(parent, NONE), fleet, PLACE_WEIGHT_MM)
        of_cell = _shrunk(levels.cells.get(cell, NONE), of_parent, PLACE_WEIGHT_MM)
        usual = _shrunk(levels.headings.get((cell, octant), NONE), of_cell, PLACE_WEIGHT_MM)
        fleet_now = _shrunk(levels.fleet_hours.get(hour, NONE), fleet, HOUR_FLEET_WEIGHT_MM)
        parent_hours = levels.parent_hours.get(parent)
        in_hour = NONE if parent_hours is None else parent_hours.get(hour, NONE)
        hour_factor = _shrunk(in_hour, of_parent * fleet_now / fleet, HOUR_WEIGHT_MM) / of_parent
        recent_factor = _shrunk(levels.recent_fleet, fleet_now, RECENT_FLEET_WEIGHT_MM) / fleet_now
        expected = usual * hour_factor * recent_factor
        ms, mm, riders = levels.recent.get((cell, octant), (0, 0, 0))
        return expected if riders < MIN_RIDERS else _shrunk((ms, mm), expected, RECENT_WEIGHT_MM)


def _shrunk(sums: Sums, prior: float, weight_mm: int) -> float:
    """The pace in ms/mm, as if ``weight_mm`` more had been ridden at the pace ``prior``."""
    return (sums[0] + prior * weight_mm) / (sums[1] + weight_mm)


def _lowest(hours: Mapping[int, Sums] | None) -> float | None:
    paces = [ms / mm for ms, mm in hours.values() if mm >= FREE_FLOW_MIN_MM] if hours else []
    return min(paces) * 1_000.0 if paces else None
