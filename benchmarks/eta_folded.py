"""The read models of the ETA after some events of both streams, in memory, by the folds of this repository."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from benchmarks.eta_city import OtherTaxis, TrafficTotals
from domain.features import orders
from domain.features.eta.city_view import CityView
from domain.features.keyed_event import KeyedEvent
from domain.features.partials import PartialTable, apply_changes, collect
from domain.features.speed import window as speed_window
from domain.features.speed.window import SpeedState
from domain.features.traffic.changes import changes
from domain.features.traffic.fold import EMPTY, TrafficState, fold
from domain.features.traffic.steps import BUCKET_MS


class FoldedLog:
    """Orders, riders and the city as of the latest event. ``orders`` and ``riders`` are by id."""

    def __init__(self, *, keeps_own_traffic: bool = False) -> None:
        """``keeps_own_traffic``: of each rider, so that ``city`` can leave it out; it costs memory."""
        self.orders: dict[str, orders.OrderState] = {}
        self.riders: defaultdict[str, SpeedState] = defaultdict(lambda: speed_window.EMPTY)
        self._traffic: defaultdict[str, TrafficState] = defaultdict(lambda: EMPTY)
        self._of_all, self._none = TrafficTotals(), TrafficTotals()
        self._own: defaultdict[str, TrafficTotals] | None = defaultdict(TrafficTotals) if keeps_own_traffic else None
        self._table: PartialTable = {}
        self._bucket = self._position = 0

    def add(self, stream: str, key: str, event_type: str, data: Mapping[str, Any]) -> None:
        """Fold one event of the stream Rider or Delivery, in the order of the log."""
        self._position += 1
        if stream == "Rider":
            self._on_rider(KeyedEvent(key, self.riders[key].version + 1, self._position, event_type, data))
        else:
            before = self.orders.get(key, orders.EMPTY)
            after = orders.fold(before, KeyedEvent(key, before.version + 1, self._position, event_type, data))
            self.orders[key] = after
            pending: PartialTable = {}
            collect(pending, orders.partials(before, after))
            apply_changes(self._table, pending)

    def advance(self, now_ms: int) -> None:
        """Forget the traffic that is no longer recent at ``now_ms``."""
        bucket = now_ms // BUCKET_MS
        if bucket != self._bucket:
            self._bucket = bucket
            for totals in (self._of_all, *(self._own or {}).values()):
                totals.advance(bucket)

    def city(self, now_ms: int, without: str | None = None) -> CityView:
        """The city at ``now_ms``; ``without`` the traffic of one rider."""
        own = self._none if without is None or self._own is None else self._own[without]
        return OtherTaxis(self._of_all, own, self._table, now_ms)

    def _on_rider(self, event: KeyedEvent) -> None:
        rider_id, before = event.key, self._traffic[event.key]
        self.riders[rider_id] = speed_window.fold(self.riders[rider_id], event)
        self._traffic[rider_id] = fold(before, event)
        for change in changes(before, self._traffic[rider_id]):
            self._of_all.add(change)
            if self._own is not None:
                self._own[rider_id].add(change)
