"""A numbered city snapshot, as the ETA and ``GET /traffic`` read it: pure look-ups in its content."""

from __future__ import annotations

from typing import NamedTuple

from domain.features.calibration.adjustment import Calibration
from domain.features.eta.city_view import CellOrders
from domain.features.traffic.city import CityTraffic, TrafficLevels, traffic_levels
from domain.features.traffic.steps import OCTANTS
from read_models.city.content import CityContent, by_hour


class CellTraffic(NamedTuple):
    """The traffic of a cell for one heading octant. ``riders``: at least so many crossed it in the last 30 minutes."""

    cell: int
    heading: int
    pace_s_per_km: float | None
    traffic_index: float | None
    riders: int


class CitySnapshot:
    """Implements ``domain.features.eta.city_view.CityView``. Look-ups take the time as an argument (invariant 5)."""

    def __init__(self, number: int, digest: str, content: CityContent) -> None:
        self.number = number
        self.digest = digest
        self.content = content
        self._levels = _levels(content)
        self._traffic = CityTraffic(self._levels)
        self._open = dict(content.open_orders)
        self._finished = {cell: sums for cell, *sums in content.finished}
        self.calibration = Calibration.of_rows(content.thresholds)

    @property
    def as_of_ms(self) -> int:
        """The clock reading of the snapshot's maker, epoch ms."""
        return self.content.as_of_ms

    def pace(self, cell: int, octant: int, at_ms: int) -> float | None:
        """The pace to expect, s/km; None while nothing is known of the fleet."""
        return self._traffic.pace(cell, octant, at_ms)

    def index(self, cell: int, octant: int, at_ms: int) -> float | None:
        """Free-flow pace ÷ pace; None if the free-flow pace is unknown."""
        return self._traffic.index(cell, octant, at_ms)

    def fleet_pace(self) -> float | None:
        """The pace of all riders over all time, s/km; None if unknown."""
        return self._traffic.fleet_pace()

    def orders_at(self, cell: int) -> CellOrders:
        """Open orders of the cell's restaurants, and the means of those finished within the last hour."""
        count, duration_ms, lateness_ms, promised = self._finished.get(cell, (0, 0, 0, 0))
        return CellOrders(
            self._open.get(cell, 0),
            duration_ms / count / 1_000.0 if count else None,
            lateness_ms / promised / 1_000.0 if promised else None,
        )

    def cells(self) -> list[tuple[int, int]]:
        """Cells and octants that riders crossed in the last 30 minutes, sorted."""
        return sorted(self._levels.recent)

    def traffic_at(self, cell: int, heading: int) -> CellTraffic:
        """The traffic of a cell and heading as of the snapshot."""
        at_ms = self.as_of_ms
        riders = self._levels.recent.get((cell, heading), (0, 0, 0))[2]
        return CellTraffic(cell, heading, self.pace(cell, heading, at_ms), self.index(cell, heading, at_ms), riders)

    def traffic_of(self, cell: int) -> list[CellTraffic]:
        """The traffic of a cell for each heading."""
        return [self.traffic_at(cell, heading) for heading in range(OCTANTS)]


def _levels(content: CityContent) -> TrafficLevels:
    """The sums by level. Of the hours only those that a look-up as of the snapshot can need are in the content."""
    headings = {(cell, octant): (ms, mm) for cell, octant, ms, mm in content.headings}
    recent = {(cell, octant): (ms, mm, riders) for cell, octant, ms, mm, riders in content.recent}
    return traffic_levels(headings, {}, recent)._replace(
        hours=by_hour(content.fastest),
        parent_hours=by_hour(content.parent_hours),
        fleet_hours={hour: (ms, mm) for hour, ms, mm in content.fleet_hours},
    )
