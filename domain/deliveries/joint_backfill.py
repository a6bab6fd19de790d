"""Records history of riders and deliveries together: position order is the order of reception across both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from eventsourcing.application import Application, LRUCache
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import StoredEvent

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.decide import rider_of
from domain.deliveries.delivery import Delivery
from domain.deliveries.history_batch import HistoryBatch, HistoryItem, HistoryOutcome, decide_history
from domain.event_store import EventHistory, EventStoreRecorder, PingIdentity
from domain.gps_ping import GpsPing
from domain.identifiers import aggregate_id
from domain.riders.rider import PingKey, Rider

T = TypeVar("T", Rider, Delivery)


class JointBackfill:
    """Records batches of history. One instance at a time writes to the log; not thread-safe."""

    def __init__(
        self,
        application: Application[UUID],
        history: EventHistory,
        *,
        cached: int = 100_000,
        snapshot_every: int = 1000,
    ) -> None:
        """``application`` gives mapper, snapshots and recorder, which must be an ``EventStoreRecorder``.

        ``cached``: riders, and deliveries, that are kept in memory.
        """
        self._application = application
        recorder = cast("EventStoreRecorder", application.recorder)
        self._append, self._with_recorded_at = recorder.append, recorder.with_recorded_at
        self._history = history
        self._cached = cached
        self._snapshot_every = snapshot_every
        self._riders: LRUCache[str, Rider] = LRUCache(cached)
        self._deliveries: LRUCache[str, Delivery] = LRUCache(cached)

    def record(self, items: Sequence[HistoryItem]) -> list[HistoryOutcome]:
        """Record a batch in one transaction, each event as of the reception of its item. Returns one outcome per item.

        ``items`` must be in the order of their reception, across batches too.

        Raises:
            OrderBroken: they are not, or another writer has recorded something later meanwhile.
            PersistenceError: the batch could not be recorded.

        Nothing of the batch is recorded then.
        """
        batch = HistoryBatch({}, {})

        def redecide(_conflicts: set[UUID]) -> list[StoredEvent]:
            # Another writer is at work. If its events are later than these, the append raises OrderBroken.
            nonlocal batch
            self._forget()
            batch = self._decide(items)
            return self._stored(batch)

        try:
            batch = self._decide(items)
            self._append(self._stored(batch), redecide)
        except BaseException:
            # It is unknown whether the commit succeeded.
            self._forget()
            raise
        self._keep(batch)
        return batch.outcomes

    def _decide(self, items: Sequence[HistoryItem]) -> HistoryBatch:
        commands = [item for item in items if isinstance(item, DeliveryCommand)]
        order_ids = {command.order_id for command in commands}
        deliveries = self._load(Delivery, self._deliveries, order_ids)
        rider_ids = {item.rider_id for item in items if isinstance(item, GpsPing)}
        for command in commands:
            rider_id = rider_of(command, deliveries.get(command.order_id))
            if rider_id is not None:
                rider_ids.add(rider_id)
        batch = HistoryBatch(self._load(Rider, self._riders, rider_ids), deliveries)
        decide_history(items, batch, self._find_recorded(items, batch))
        return batch

    def _find_recorded(
        self, items: Sequence[HistoryItem], batch: HistoryBatch
    ) -> dict[str, dict[PingKey, GpsPing | None]]:
        """Recorded pings with the identity of one in the batch, by rider."""
        wanted: dict[PingIdentity, str] = {}
        for item in items:
            rider = batch.riders.get(item.rider_id) if isinstance(item, GpsPing) else None
            if isinstance(item, GpsPing) and rider is not None and rider.may_have_recorded(item):
                wanted[PingIdentity(rider.id, item.event_timestamp_ms, item.event_id)] = item.rider_id
        found: dict[str, dict[PingKey, GpsPing | None]] = {}
        for identity, (_, payload) in self._history.find_pings(list(wanted)).items():
            stored = StoredEvent(identity.aggregate_id, 0, Rider.PingRecorded.RECORD, payload)
            ping = cast("Rider.PingRecorded", self._application.mapper.to_domain_event(stored)).ping
            found.setdefault(wanted[identity], {})[identity.event_timestamp_ms, identity.event_id] = ping
        return found

    def _stored(self, batch: HistoryBatch) -> list[StoredEvent]:
        to_stored_event = self._application.mapper.to_stored_event
        return [self._with_recorded_at(to_stored_event(each.event), each.received_ms) for each in batch.events]

    def _load(self, kind: type[T], cache: LRUCache[str, T], keys: Iterable[str]) -> dict[str, T]:
        """Aggregates from the cache, the others from the log in one query; absent = no event yet."""
        found: dict[str, T] = {}
        missing: dict[UUID, str] = {}
        for key in keys:
            try:
                found[key] = cache.get(key)
            except KeyError:
                missing[aggregate_id(kind.AGGREGATE_TYPE, key)] = key
        if missing:
            for aggregate, events in self._history.streams(missing).items():
                found[missing[aggregate]] = self._aggregate(events)
        return found

    def _aggregate(self, events: Iterable[StoredEvent]) -> Any:
        aggregate: Any = None
        for event in events:
            aggregate = cast("Any", self._application.mapper.to_domain_event(event)).mutate(aggregate)
        return aggregate

    def _keep(self, batch: HistoryBatch) -> None:
        recorded: dict[UUID | str, int] = {}
        for each in batch.events:
            recorded[each.event.originator_id] = recorded.get(each.event.originator_id, 0) + 1
        for order_id, delivery in batch.deliveries.items():
            self._deliveries.put(order_id, delivery)
        for rider_id, rider in batch.riders.items():
            self._riders.put(rider_id, rider)
            self._snapshot(rider, recorded.get(rider.id, 0))

    def _snapshot(self, rider: Rider, new_events: int) -> None:
        """Without it, the first live command on the rider would load the whole history."""
        snapshots, every = self._application.snapshots, self._snapshot_every
        if snapshots is not None and rider.version // every > (rider.version - new_events) // every:
            snapshots.put([Snapshot.take(rider)])

    def _forget(self) -> None:
        self._riders, self._deliveries = LRUCache(self._cached), LRUCache(self._cached)
