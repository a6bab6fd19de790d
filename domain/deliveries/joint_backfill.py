"""Records history of riders and deliveries together: position order is the order of reception across both."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar, cast
from uuid import UUID

from eventsourcing.persistence import MapperDeserialisationError, StoredEvent

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.decide import rider_of
from domain.deliveries.delivery import Delivery
from domain.deliveries.history_batch import HistoryBatch, HistoryItem, HistoryOutcome, decide_history
from domain.deliveries.recorded_keys import RecordedKeys, keys_to_look_up, look_up
from domain.event_store import PingIdentity
from domain.gps_ping import GpsPing
from domain.live_aggregates import LiveAggregates
from domain.riders.application import Riders
from domain.riders.events import PingRecorded
from domain.riders.rider import PingKey, Rider

log = logging.getLogger("ridelog.aggregates")

A = TypeVar("A", Rider, Delivery)


class JointBackfill:
    """Records batches of history, on the log and the riders of ``riders``. One writer at a time; not thread-safe."""

    def __init__(self, riders: Riders, *, cached_deliveries: int = 50_000, snapshot_every: int = 100) -> None:
        self._store = riders.store
        self._log = riders.command_log
        self._riders = riders.live
        self._deliveries = LiveAggregates(Delivery, riders.store, most=cached_deliveries, snapshot_every=snapshot_every)
        self._log.register(self._deliveries)

    def record(self, items: Sequence[HistoryItem]) -> list[HistoryOutcome]:
        """Record a batch in one transaction, each event as of the reception of its item. Returns one outcome per item.

        ``items`` must be in the order of their reception, across batches too.

        Raises:
            OrderBroken: they are not, or another writer has recorded something later meanwhile.
            PersistenceError: the batch could not be recorded.

        Nothing of the batch is recorded then.
        """
        batch = HistoryBatch({}, {})

        def decide() -> list[StoredEvent]:
            nonlocal batch
            batch = self._decide(items)
            return self._stored(batch)

        def redecide(_conflicts: set[UUID]) -> list[StoredEvent]:
            # Another writer is at work. If its events are later than these, the append raises OrderBroken.
            self._forget()
            return decide()

        try:
            self._log.append(decide, redecide)
        except BaseException:
            # It is unknown whether the commit succeeded.
            self._forget()
            raise
        self._keep(batch)
        return batch.outcomes

    def _decide(self, items: Sequence[HistoryItem]) -> HistoryBatch:
        commands = [item for item in items if isinstance(item, DeliveryCommand)]
        deliveries = _existing(self._deliveries.load({command.order_id: None for command in commands}))
        riders: dict[str, None] = {item.rider_id: None for item in items if isinstance(item, GpsPing)}
        # Every rider that a command of the batch can change: assigned before it, or assigned within it.
        for command in commands:
            rider_id = rider_of(command, deliveries.get(command.order_id))
            if rider_id is not None:
                riders[rider_id] = None
        history, mapper = self._store.history, self._store.mapper
        keys = RecordedKeys(commands, deliveries, look_up(keys_to_look_up(commands, deliveries), history, mapper))
        batch = HistoryBatch(_existing(self._riders.load(riders)), deliveries, keys=keys)
        decide_history(items, batch, self._find_recorded(items, batch))
        return batch

    def _find_recorded(
        self, items: Sequence[HistoryItem], batch: HistoryBatch
    ) -> dict[str, dict[PingKey, GpsPing | None]]:
        """Recorded pings with the identity of one in the batch, by rider; None = its bytes cannot be decoded."""
        wanted: dict[PingIdentity, str] = {}
        for item in items:
            if isinstance(item, GpsPing):
                rider = batch.riders.get(item.rider_id)
                if rider is not None and rider.may_have_recorded(item):
                    wanted[PingIdentity(rider.id, item.event_timestamp_ms, item.event_id)] = item.rider_id
        found: dict[str, dict[PingKey, GpsPing | None]] = {}
        for identity, (position, payload) in self._store.history.find_pings(list(wanted)).items():
            stored = StoredEvent(identity.aggregate_id, 0, PingRecorded.RECORD, payload)
            ping: GpsPing | None = None
            try:
                ping = cast("PingRecorded", self._store.mapper.to_domain_event(stored)).ping
            except MapperDeserialisationError as error:
                # One bad event must not stop the batch: the repeat of this ping alone is rejected.
                log.error("a recorded ping at position %d cannot be read: %s", position, error)
            found.setdefault(wanted[identity], {})[identity.event_timestamp_ms, identity.event_id] = ping
        return found

    def _stored(self, batch: HistoryBatch) -> list[StoredEvent]:
        to_stored_event = self._store.mapper.to_stored_event
        return [self._log.with_recorded_at(to_stored_event(each.event), each.received_ms) for each in batch.events]

    def _keep(self, batch: HistoryBatch) -> None:
        recorded = Counter(each.event.originator_id for each in batch.events)
        for order_id, delivery in batch.deliveries.items():
            self._deliveries.keep(order_id, delivery, recorded[delivery.id])
        for rider_id, rider in batch.riders.items():
            self._riders.keep(rider_id, rider, recorded[rider.id])

    def _forget(self) -> None:
        self._riders.clear()
        self._deliveries.clear()


def _existing(loaded: dict[str, A | None]) -> dict[str, A]:
    return {key: aggregate for key, aggregate in loaded.items() if aggregate is not None}
