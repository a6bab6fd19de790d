"""The city along the log: sums that are advanced change by change, and read as of any instant on the way.

At each instant the look-ups give what a ``CitySnapshot`` merged there gives, number by number, without a merge of all
cells. A training set has a million instants.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

from domain.features.calibration.adjustment import NOT_CALIBRATED, Calibration
from domain.features.eta.city_view import CellOrders
from domain.features.orders import RING_SLOTS as ORDER_BUCKETS
from domain.features.traffic.city import NONE, RECENT_BUCKETS, CityTraffic, Sums, TrafficLevels
from domain.features.traffic.steps import BUCKET_MS, parent_of

K = TypeVar("K", bound=Hashable)

Heading = tuple[int, int]
"""A cell and a heading octant."""
_Recent = tuple[int, int, int]
"""Milliseconds, millimetres and riders."""
_Finished = tuple[int, int, int, int]
"""Count, Σ duration ms, Σ lateness ms, count with a promise."""
_NO_RECENT: _Recent = (0, 0, 0)
_NO_FINISHED: _Finished = (0, 0, 0, 0)


class RunningCity:
    """Integer sums of all riders and orders so far. Changes come in any order; instants never go back."""

    def __init__(self) -> None:
        self._headings: dict[Heading, Sums] = {}
        self._cells: dict[int, Sums] = {}
        self._parents: dict[int, Sums] = {}
        self._fleet: Sums = NONE
        self._hours: defaultdict[int, dict[int, Sums]] = defaultdict(dict)
        self._parent_hours: defaultdict[int, dict[int, Sums]] = defaultdict(dict)
        self._fleet_hours: dict[int, Sums] = {}
        self._buckets: defaultdict[int, dict[Heading, _Recent]] = defaultdict(dict)
        self._bucket_fleet: dict[int, Sums] = {}
        self._open: dict[int, int] = {}
        self._finished: defaultdict[int, dict[int, _Finished]] = defaultdict(dict)

    def add_usual(self, hour: int, cell: int, octant: int, ms: int, mm: int) -> None:
        """Add to the sums of all time and of an hour of the week."""
        parent = parent_of(cell)
        _add(self._headings, (cell, octant), ms, mm)
        _add(self._cells, cell, ms, mm)
        _add(self._parents, parent, ms, mm)
        self._fleet = (self._fleet[0] + ms, self._fleet[1] + mm)
        _add(self._hours[cell], hour, ms, mm)
        _add(self._parent_hours[parent], hour, ms, mm)
        _add(self._fleet_hours, hour, ms, mm)

    def add_recent(self, bucket: int, heading: Heading, ms: int, mm: int, riders: int) -> None:
        """Add to the sums of five minutes of event time."""
        held = self._buckets[bucket].get(heading, _NO_RECENT)
        self._buckets[bucket][heading] = (held[0] + ms, held[1] + mm, held[2] + riders)
        _add(self._bucket_fleet, bucket, ms, mm)

    def add_open(self, cell: int, count: int) -> None:
        """Add to the open orders of the restaurants in a cell."""
        self._open[cell] = self._open.get(cell, 0) + count

    def add_finished(self, bucket: int, cell: int, sums: _Finished) -> None:
        """Add orders that were finished in five minutes of event time."""
        a, b = self._finished[bucket].get(cell, _NO_FINISHED), sums
        self._finished[bucket][cell] = (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])

    def at(self, at_ms: int) -> CityAt:
        """The city as of ``at_ms`` (epoch ms), valid until the next change."""
        now = at_ms // BUCKET_MS
        for old in [bucket for bucket in self._buckets if bucket <= now - RECENT_BUCKETS]:
            del self._buckets[old], self._bucket_fleet[old]
        for old in [bucket for bucket in self._finished if bucket <= now - ORDER_BUCKETS]:
            del self._finished[old]
        recent = [self._buckets[held] for held in self._buckets if held <= now]
        recent_fleet = NONE
        for bucket, (ms, mm) in self._bucket_fleet.items():
            if bucket <= now:
                recent_fleet = (recent_fleet[0] + ms, recent_fleet[1] + mm)
        levels = TrafficLevels(
            self._headings,
            self._cells,
            self._parents,
            self._fleet,
            self._hours,
            self._parent_hours,
            self._fleet_hours,
            _RecentOf(recent),
            recent_fleet,
        )
        finished = [self._finished[held] for held in self._finished if held <= now]
        return CityAt(at_ms, CityTraffic(levels), self._open, finished)


class _RecentOf(Mapping[Heading, _Recent]):
    """Sums over some buckets by heading; the riders are those of the bucket with the most (``recent_traffic``)."""

    def __init__(self, buckets: list[dict[Heading, _Recent]]) -> None:
        self._of = buckets

    def __getitem__(self, heading: Heading) -> _Recent:
        found = [bucket[heading] for bucket in self._of if heading in bucket]
        if not found:
            raise KeyError(heading)
        return sum(one[0] for one in found), sum(one[1] for one in found), max(0, *(one[2] for one in found))

    def __iter__(self) -> Iterator[Heading]:
        return iter({heading: None for bucket in self._of for heading in bucket})

    def __len__(self) -> int:
        return len({heading for bucket in self._of for heading in bucket})


class CityAt:
    """Implements ``domain.features.eta.city_view.CityView`` as of one instant of a ``RunningCity``."""

    def __init__(
        self, as_of_ms: int, traffic: CityTraffic, open_orders: Mapping[int, int], finished: list[dict[int, _Finished]]
    ) -> None:
        self._as_of_ms = as_of_ms
        self._open = open_orders
        self._finished = finished
        self.pace, self.index, self.fleet_pace = traffic.pace, traffic.index, traffic.fleet_pace

    @property
    def as_of_ms(self) -> int:
        return self._as_of_ms

    @property
    def calibration(self) -> Calibration:
        """None of the outcomes: features do not use them."""
        return NOT_CALIBRATED

    def orders_at(self, cell: int) -> CellOrders:
        """Open orders of the cell's restaurants, and the means of those finished within the last hour."""
        sums = [bucket[cell] for bucket in self._finished if cell in bucket]
        count, duration_ms, lateness_ms, promised = (sum(one[n] for one in sums) for n in range(4))
        return CellOrders(
            self._open.get(cell, 0),
            duration_ms / count / 1_000.0 if count else None,
            lateness_ms / promised / 1_000.0 if promised else None,
        )


def _add(table: dict[K, Sums], key: K, ms: int, mm: int) -> None:
    held = table.get(key, NONE)
    table[key] = (held[0] + ms, held[1] + mm)
