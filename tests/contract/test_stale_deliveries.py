"""A batch of commands whose riders another process has changed: many are loaded again before the log's lock is taken.

As for pings: `tests/integration/event_store/test_stale_riders.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from domain.deliveries.application import Deliveries
from domain.deliveries.commands import DeliveryCommand
from domain.event_store import RecordedRef, Redecide
from domain.identifiers import aggregate_id
from domain.riders.application import MAX_RELOADED_IN_LOCK, RELOADS_OUTSIDE_LOCK, Riders
from domain.riders.command_service import RiderCommands
from infrastructure.event_store.aggregates import EventStoreFactory
from tests.contract.delivery_processes import CODEC, codes
from tests.support.ports_in_memory.event_store import MemoryEventStore
from tests.unit.domain.given import NOW_MS, a_ping
from tests.unit.domain.given_delivery import a_step, an_order
from tests.unit.domain.test_rider_commands import a_review

COUNT = 3 * MAX_RELOADED_IN_LOCK
NAMES = [f"rider-{number}" for number in range(COUNT)]
ALL = range(COUNT)
RIDERS = {aggregate_id("Rider", name) for name in NAMES}


class WatchedStore(MemoryEventStore):
    """Notes of each load how many riders it reads, and whether that is inside the log's lock."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[tuple[int, bool]] = []
        self.before_append: Callable[[], None] = lambda: None
        self._is_locked = False

    def append(self, events: Sequence[StoredEvent], redecide: Redecide) -> RecordedRef:
        self.before_append()

        def locked(conflicts: set[UUID]) -> Sequence[StoredEvent]:
            self._is_locked = True
            try:
                return redecide(conflicts)
            finally:
                self._is_locked = False

        return super().append(events, locked)

    def streams(self, aggregates: Iterable[UUID]) -> dict[UUID, list[StoredEvent]]:
        wanted = list(aggregates)
        if riders := RIDERS.intersection(wanted):
            self.loads.append((len(riders), self._is_locked))
        return super().streams(wanted)


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


def riders_of(store: MemoryEventStore) -> Riders:
    return Riders(EventStoreFactory(store, store.snapshots, CODEC), store)


def with_assigned_orders(store: WatchedStore) -> Deliveries:
    """A process that has an order of each rider in memory, and each rider."""
    deliveries = Deliveries(riders_of(store))
    deliveries.execute([an_order(f"order-{n}") for n in ALL])
    deliveries.execute(steps("assign", ALL))
    store.loads.clear()
    return deliveries


def steps(verb: str, numbers: Sequence[int]) -> list[DeliveryCommand]:
    riders = ({"rider_id": NAMES[n]} if verb == "assign" else {} for n in numbers)
    return [a_step(verb, f"order-{n}", **rider) for n, rider in zip(numbers, riders, strict=True)]


def ping(riders: Riders, numbers: Iterable[int], after_ms: int) -> None:
    riders.record_pings([a_ping(NAMES[n], NOW_MS + after_ms) for n in numbers])


def test_regression_many_riders_that_have_pinged_elsewhere_are_reloaded_outside_the_lock(store: WatchedStore) -> None:
    """A load balancer sends pings to one process and the dispatcher to another: all riders of a batch are stale."""
    deliveries, elsewhere = with_assigned_orders(store), riders_of(store)
    ping(elsewhere, ALL, 1)
    store.loads.clear()
    assert codes(deliveries.execute(steps("pickup", ALL))) == ["recorded"] * COUNT
    assert store.loads == [(COUNT, False)]


def test_a_few_riders_are_reloaded_inside_the_lock_at_once(store: WatchedStore) -> None:
    deliveries, elsewhere = with_assigned_orders(store), riders_of(store)
    ping(elsewhere, range(MAX_RELOADED_IN_LOCK), 1)
    store.loads.clear()
    assert codes(deliveries.execute(steps("pickup", ALL))) == ["recorded"] * COUNT
    assert store.loads == [(MAX_RELOADED_IN_LOCK, True)]


def test_of_repeats_inside_the_lock_only_riders_that_were_changed_are_reloaded(store: WatchedStore) -> None:
    deliveries, elsewhere = with_assigned_orders(store), riders_of(store)
    deliveries.execute(steps("pickup", ALL[1:]))
    ping(elsewhere, [0, 1], 1)
    store.loads.clear()
    assert codes(deliveries.execute(steps("pickup", ALL))) == ["recorded"] + ["repeat"] * (COUNT - 1)
    assert store.loads == [(2, True)]


def test_a_process_that_always_interferes_delays_a_batch_but_never_starves_it(store: WatchedStore) -> None:
    deliveries, elsewhere = with_assigned_orders(store), riders_of(store)
    turns = iter(range(100, 200))

    def interfere() -> None:
        store.before_append = lambda: None
        ping(elsewhere, ALL, next(turns))
        store.before_append = interfere

    ping(elsewhere, ALL, 1)
    store.loads.clear()
    store.before_append = interfere
    assert codes(deliveries.execute(steps("pickup", ALL))) == ["recorded"] * COUNT
    assert store.loads == [(COUNT, False)] * RELOADS_OUTSIDE_LOCK + [(COUNT, True)]


def test_regression_of_a_batch_of_reviews_only_riders_that_have_pinged_meanwhile_are_read_in_the_lock(
    store: WatchedStore,
) -> None:
    """Such a batch reads all its riders before the lock, and read all of them again if one had pinged since."""
    riders, elsewhere = riders_of(store), riders_of(store)
    desk = RiderCommands(riders)
    ping(riders, ALL, 0)
    known = [a_review(rider_id=name) for name in NAMES[: COUNT // 2]]
    desk.execute(known)
    store.loads.clear()

    def interfere() -> None:
        store.before_append = lambda: None
        # One that has the review already, and one that gets it now.
        ping(elsewhere, [0, COUNT - 1], 1)
        store.loads.clear()

    store.before_append = interfere
    outcomes = desk.execute([a_review(rider_id=name) for name in NAMES])
    assert [one.recorded for one in outcomes] == [False] * (COUNT // 2) + [True] * (COUNT // 2)
    assert store.loads == [(2, True)]
    assert all(riders.get(name).reviews == riders.get(NAMES[0]).reviews for name in NAMES)
