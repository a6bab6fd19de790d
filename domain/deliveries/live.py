"""The deliveries that a process holds in memory, each with the position of its last event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast
from uuid import UUID

from eventsourcing.application import LRUCache

from domain.deliveries.delivery import Delivery
from domain.deliveries.recorded_keys import OrderKey, look_up
from domain.event_store import RecordedVersion
from domain.live_aggregates import AggregateStore, LiveAggregates, Positioned


class LiveDeliveries(LiveAggregates[Delivery]):
    """Deliveries by order id; not thread-safe, except ``read_positioned``."""

    def __init__(self, store: AggregateStore, *, most: int, snapshot_every: int) -> None:
        super().__init__(Delivery, store, most=most, snapshot_every=snapshot_every)
        self._positions: LRUCache[str, int] = LRUCache(most)

    def load_positioned(self, order_ids: Iterable[str]) -> dict[str, Positioned[Delivery] | None]:
        """Deliveries from memory, the others from the log in one query; None = not placed yet."""
        found: dict[str, Positioned[Delivery] | None] = {}
        missing = []
        for order_id in order_ids:
            try:
                found[order_id] = Positioned(self._live.get(order_id), self._positions.get(order_id))
            except KeyError:
                missing.append(order_id)
        return found | self.read_positioned(missing) if missing else found

    def read_positioned(self, keys: Iterable[str]) -> dict[str, Positioned[Delivery] | None]:
        """As ``load_positioned``, whatever is in memory. Thread-safe.

        The position is 0 if all events of the delivery were detached from the log, so that its snapshot alone is left.
        """
        found: dict[str, Positioned[Delivery] | None] = {}
        missing = list(keys)
        while missing:
            found |= super().read_positioned(missing)
            # A delivery whose last event has a snapshot is loaded without it, and so without its position.
            placeless = {self.id_of(key): key for key in missing if (each := found[key]) and not each.position}
            latest = self._store.history.latest(placeless)
            missing = []
            for aggregate, key in placeless.items():
                delivery = cast("Positioned[Delivery]", found[key]).aggregate
                # Absent: events and snapshots were detached since. The delivery is as it was read a moment ago.
                last = latest.get(aggregate, RecordedVersion(delivery.version, 0))
                found[key] = Positioned(delivery, last.position)
                if last.version > delivery.version:
                    missing.append(key)  # another process has recorded an event in between
        return found

    def find_digests(self, wanted: Mapping[OrderKey, UUID]) -> dict[OrderKey, str]:
        """Digests of the commands that the log has under keys, whatever is in memory. Thread-safe."""
        return look_up(wanted, self._store.history, self._store.mapper)

    def keep_positioned(self, order_id: str, kept: Positioned[Delivery], new_events: int) -> None:
        """As ``keep``, with the position of the last event."""
        self._positions.put(order_id, kept.position)
        self.keep(order_id, kept.aggregate, new_events)

    def clear(self) -> None:
        super().clear()
        self._positions = LRUCache(self._most)
