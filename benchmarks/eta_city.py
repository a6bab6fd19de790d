"""The city as one taxi may see it: the traffic of all other taxis so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, ValuesView
from typing import Any, TypeVar

from domain.features import orders
from domain.features.calibration.adjustment import NOT_CALIBRATED
from domain.features.eta.city_view import CellOrders
from domain.features.partials import PartialTable
from domain.features.traffic.changes import TrafficChange
from domain.features.traffic.city import RECENT_BUCKETS, CityTraffic, TrafficLevels
from domain.features.traffic.steps import BUCKET_MS, hour_of_week, parent_of

K = TypeVar("K")
Amounts = tuple[int, ...]


class _Others(Mapping[K, Amounts]):
    """The sums of all taxis without those of one. Keys that are absent have no sums."""

    def __init__(self, of_all: Mapping[K, Amounts], own: Mapping[K, Amounts]) -> None:
        self._all, self._own = of_all, own

    def __getitem__(self, key: K) -> Amounts:
        found = self._all[key]
        own = self._own.get(key)
        return found if own is None else tuple([a - b for a, b in zip(found, own, strict=True)])

    def values(self) -> ValuesView[Amounts]:
        # Few of the keys are of the one taxi: the others are copied at once.
        return {**self._all, **{key: self[key] for key in self._own}}.values()

    def __iter__(self) -> Iterator[K]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


class TrafficTotals:
    """The traffic of some taxis so far, by level, changed in place by what each ping changes."""

    def __init__(self) -> None:
        self.headings: dict[tuple[int, int], Amounts] = {}
        self.cells: dict[int, Amounts] = {}
        self.parents: dict[int, Amounts] = {}
        self.fleet: dict[int, Amounts] = {0: (0, 0)}
        self.hours: defaultdict[int, dict[int, Amounts]] = defaultdict(dict)
        self.parent_hours: defaultdict[int, dict[int, Amounts]] = defaultdict(dict)
        self.fleet_hours: dict[int, Amounts] = {}
        self.recent: dict[tuple[int, int], Amounts] = {}
        self.recent_fleet: dict[int, Amounts] = {0: (0, 0)}
        self._buckets: defaultdict[int, dict[tuple[int, int], Amounts]] = defaultdict(dict)

    def add(self, change: TrafficChange) -> None:
        bucket, cell, octant, ms, mm, riders = change
        hour, parent = hour_of_week(bucket), parent_of(cell)
        for table, key in ((self.headings, (cell, octant)), (self.recent, (cell, octant))):
            _add(table, key, (ms, mm) if table is self.headings else (ms, mm, riders))
        for of_place, place in ((self.cells, cell), (self.parents, parent), (self.fleet, 0), (self.recent_fleet, 0)):
            _add(of_place, place, (ms, mm))
        for of_hour in (self.hours[cell], self.parent_hours[parent], self.fleet_hours):
            _add(of_hour, hour, (ms, mm))
        _add(self._buckets[bucket], (cell, octant), (ms, mm, riders))

    def advance(self, bucket: int) -> None:
        """Forget the buckets that are no longer recent at ``bucket``."""
        for old in [held for held in self._buckets if held <= bucket - RECENT_BUCKETS]:
            for key, (ms, mm, riders) in self._buckets.pop(old).items():
                _add(self.recent, key, (-ms, -mm, -riders))
                _add(self.recent_fleet, 0, (-ms, -mm))


def _add(table: dict[Any, Amounts], key: Any, amounts: Amounts) -> None:
    held = table.get(key)
    table[key] = amounts if held is None else tuple([a + b for a, b in zip(held, amounts, strict=True)])


class OtherTaxis:
    """The city as one taxi may see it: all taxis without that one."""

    def __init__(self, of_all: TrafficTotals, own: TrafficTotals, table: PartialTable, now_ms: int) -> None:
        self.as_of_ms = now_ms
        self.calibration = NOT_CALIBRATED
        self._table = table
        self._own = own
        levels: Any = {name: _Others(getattr(of_all, name), getattr(own, name)) for name in _FLAT}
        levels["fleet"], levels["recent_fleet"] = levels["fleet"][0], levels["recent_fleet"][0]
        levels["hours"] = _OtherHours(of_all.hours, own.hours)
        levels["parent_hours"] = _OtherHours(of_all.parent_hours, own.parent_hours)
        self._traffic = CityTraffic(TrafficLevels(**levels))
        self.pace, self.index = self._traffic.pace, self._traffic.index
        self.fleet_pace = self._traffic.fleet_pace

    def orders_at(self, cell: int) -> CellOrders:
        field, now = f"{cell:x}", self.as_of_ms // BUCKET_MS
        found = [0, 0, 0, 0]
        for slot in range(orders.RING_SLOTS):
            held = self._table.get(slot)
            if held is not None and held.bucket > now - orders.RING_SLOTS:
                found = [a + b for a, b in zip(found, held.sums.get(field, (0, 0, 0, 0)), strict=True)]
        count, duration_ms, lateness_ms, promised = found
        held = self._table.get(orders.OPEN_SLOT)
        return CellOrders(
            0 if held is None else held.sums.get(field, (0,))[0],
            duration_ms / count / 1_000 if count else None,
            lateness_ms / promised / 1_000 if promised else None,
        )


_FLAT = ("headings", "cells", "parents", "fleet", "fleet_hours", "recent", "recent_fleet")


class _OtherHours(Mapping[int, Mapping[int, Amounts]]):
    def __init__(self, of_all: Mapping[int, dict[int, Amounts]], own: Mapping[int, dict[int, Amounts]]) -> None:
        self._all, self._own = of_all, own

    def __getitem__(self, key: int) -> Mapping[int, Amounts]:
        if key not in self._all:
            raise KeyError(key)
        return _Others(self._all[key], self._own.get(key, {}))

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)
