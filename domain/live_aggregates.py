"""The aggregates of one type that a process holds in memory: loaded from the log when needed, kept while current."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

from eventsourcing.application import LRUCache
from eventsourcing.domain import Snapshot
from eventsourcing.persistence import EventStore, Mapper, MapperDeserialisationError, PersistenceError, StoredEvent

from domain.deliveries.delivery import Delivery
from domain.event_store import EventHistory, PositionedEvent
from domain.identifiers import aggregate_id
from domain.riders.rider import Rider

log = logging.getLogger("ridelog.aggregates")

A = TypeVar("A", Rider, Delivery)


class AggregateStore(NamedTuple):
    """Where aggregates are loaded from. ``snapshots`` is None if none are stored."""

    history: EventHistory
    mapper: Mapper[UUID]
    snapshots: EventStore[UUID] | None


class Positioned(NamedTuple, Generic[A]):
    """An aggregate, and the position of its last event; 0 if it is known from its snapshot alone."""

    aggregate: A
    position: int


class LiveAggregates(Generic[A]):
    """Aggregates by key, at most ``most`` (invariant 15); a snapshot is stored at every ``snapshot_every`` versions.

    An aggregate here may be behind the log, since other processes record too. An append finds that by the versions; its
    caller forgets the aggregate then. Not thread-safe, except ``read``: one writer at a time uses it.
    """

    def __init__(self, aggregate_class: type[A], store: AggregateStore, *, most: int, snapshot_every: int) -> None:
        self._class: type[A] = aggregate_class
        self._store = store
        self._most = most
        self._snapshot_every = snapshot_every
        self._live: LRUCache[str, A] = LRUCache(most)

    def id_of(self, key: str) -> UUID:
        return aggregate_id(self._class.AGGREGATE_TYPE, key)

    def load(self, keys: Iterable[str]) -> dict[str, A | None]:
        """Aggregates from memory, the others from the log in one query; None = it has no event yet."""
        found: dict[str, A | None] = {}
        missing: list[str] = []
        for key in keys:
            try:
                found[key] = self._live.get(key)
            except KeyError:
                found[key] = None
                missing.append(key)
        if missing:
            found |= self.read(missing)
        return found

    def holds(self, key: str) -> bool:
        """Whether the aggregate is in memory, so that ``load`` does not read the log for it."""
        try:
            self._live.get(key)
        except KeyError:
            return False
        return True

    def read(self, keys: Iterable[str]) -> dict[str, A | None]:
        """Aggregates from the log, whatever is in memory; None = it has no event yet."""
        return {key: found.aggregate if found else None for key, found in self.read_positioned(keys).items()}

    def read_positioned(self, keys: Iterable[str]) -> dict[str, Positioned[A] | None]:
        """As ``read``, each with the position of its last event."""
        wanted = {self.id_of(key): key for key in keys}
        streams = self._store.history.streams(wanted)
        return {key: self._mutated(key, streams.get(aggregate, ())) for aggregate, key in wanted.items()}

    def collect(self, aggregate: A) -> list[StoredEvent]:
        """The new events of an aggregate, encoded; they are pending no more."""
        pending, aggregate._pending_events = aggregate._pending_events, []
        return [self._store.mapper.to_stored_event(event) for event in pending]

    def keep(self, key: str, aggregate: A, new_events: int) -> None:
        """Keep an aggregate whose ``new_events`` last events have just been recorded; store a snapshot when due."""
        self._live.put(key, aggregate)
        snapshots, every = self._store.snapshots, self._snapshot_every
        if snapshots is None or aggregate.version // every <= (aggregate.version - new_events) // every:
            return
        try:
            snapshots.put([Snapshot.take(aggregate)])
        except PersistenceError as error:
            # The events are recorded and must be acknowledged. A missing snapshot only makes loading slower.
            log.warning("no snapshot of %s %s: %s", self._class.AGGREGATE_TYPE, key, error)

    def forget(self, key: str) -> None:
        try:
            self._live.get(key, evict=True)
        except KeyError:
            return

    def clear(self) -> None:
        """Forget every aggregate, because the log was restored."""
        self._live = LRUCache(self._most)

    def _mutated(self, key: str, stored: Iterable[StoredEvent]) -> Positioned[A] | None:
        aggregate: A | None = None
        position = 0
        for event in stored:
            position = event.position if isinstance(event, PositionedEvent) else 0
            try:
                aggregate = cast("Any", self._store.mapper.to_domain_event(event)).mutate(aggregate)
            except MapperDeserialisationError as error:
                # One bad event must not stop the commands on its aggregate, nor the batches that they are in.
                log.error("an event cannot be read and is skipped by commands: %s", error)
                aggregate = cast("Any", self._class).with_unreadable(aggregate, key, event.originator_version)
        return None if aggregate is None else Positioned(aggregate, position)
