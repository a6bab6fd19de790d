"""The topic ``payouts`` on a real broker and a real Postgres: it alone has each entry once, as the log makes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace

import pytest

from domain.features.keyed_event import KeyedEvent
from domain.features.payouts.fold import PayoutState, fold
from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.kafka.admin import admin
from infrastructure.kafka.clients import bootstrap
from infrastructure.settings.settings import Settings
from infrastructure.sinks.row_topic import PUBLISHING_BUDGET_S
from infrastructure.sinks.uncertain_records import UncertainRecords
from projections.core.ports import PortUnavailable
from projections.payouts import PAYOUTS
from tests.support.worlds.payouts_topic import RIDERS, PayoutTopicWorld, expected


def other_fold(state: PayoutState, event: KeyedEvent) -> PayoutState:
    """Pays one cent more for a payout, and makes no adjustment."""
    after = fold(state, event)
    entries = [entry for entry in after.entries if entry.kind == "payout"]
    return after._replace(entries=tuple(entry._replace(amount_minor=entry.amount_minor + 1) for entry in entries))


OTHER = replace(PAYOUTS, fold=other_fold, fold_version=PAYOUTS.fold_version + 1)


@pytest.fixture
def world(settings: Settings) -> Iterator[PayoutTopicWorld]:
    with Backends(settings) as backends, ExitStack() as stack:
        one = PayoutTopicWorld(settings, backends, stack)
        for number in range(2):
            for rider in RIDERS:
                one.deliver(rider, f"{rider}-{number}", 300.0 * number)
        yield one


def values_by_key(world: PayoutTopicWorld) -> dict[bytes, set[bytes]]:
    found: dict[bytes, set[bytes]] = defaultdict(set)
    for key, value in world.records():
        found[key].add(value)
    return found


def test_the_topic_alone_has_every_payout_and_adjustment_once(world: PayoutTopicWorld) -> None:
    worker = world.worker()
    worker.reads()
    assert world.is_shown()
    worker.reads(world.deliver("anna", "new", 900.0))
    assert world.is_shown()
    kinds = {entry["kind"] for entry in world.shown().values()}
    assert kinds == {"payout", "adjustment"}
    assert len(world.records()) == len(expected(world.log.events))


def test_an_entry_is_published_at_once_and_not_only_at_the_next_check(world: PayoutTopicWorld) -> None:
    worker = world.worker()
    worker.reads()
    worker.topic.deliver(world.deliver("anna", "new", 900.0))
    worker.runner.step(0)
    assert world.is_shown()


def test_nothing_is_published_again_without_new_entries(world: PayoutTopicWorld) -> None:
    world.worker().reads()
    before = world.records()
    successor = world.worker()
    successor.reads()
    successor.reads()
    assert world.records() == before


def test_a_worker_that_ended_between_table_and_topic_leaves_no_entry_unpublished(world: PayoutTopicWorld) -> None:
    world.worker().reads()
    world.silent_worker().reads(world.deliver("anna", "new", 900.0))
    assert not world.is_shown()
    world.worker().reads()
    assert world.is_shown()


INSTANTS = range(6)


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("is_delivered", [False, True], ids=["before", "after"])
def test_a_crash_at_any_page_loses_no_entry_and_publishes_the_same_bytes(
    world: PayoutTopicWorld, instant: int, is_delivered: bool
) -> None:
    """Pages of one entry or a few; the worker dies before or after the broker has the page."""
    world.page_rows = 1
    worker = world.worker()
    assert worker.publisher is not None
    setattr(worker.publisher, "after" if is_delivered else "before", dies_at(instant))
    assert worker.dies()
    assert not world.is_shown()
    world.worker().reads()
    assert world.is_shown()
    assert all(len(values) == 1 for values in values_by_key(world).values())
    # Only what was in flight comes twice.
    assert len(world.records()) <= len(expected(world.log.events)) + 1


def dies_at(instant: int) -> Callable[[], None]:
    left = iter(range(instant))

    def hook() -> None:
        if next(left, None) is None:
            raise PortUnavailable("the worker dies here")

    return hook


def test_a_deleted_topic_is_filled_again(world: PayoutTopicWorld) -> None:
    world.worker().reads()
    with admin(bootstrap(world.settings)) as client:
        client.delete_topics([world.name])
    world.worker().reads()
    assert world.is_shown()
    assert len(world.records()) == len(expected(world.log.events))


def test_a_topic_that_is_deleted_while_it_is_filled_is_filled_again(world: PayoutTopicWorld) -> None:
    world.page_rows = 1
    worker = world.worker()
    assert worker.publisher is not None
    worker.publisher.before = dies_at(3)
    assert worker.dies()
    with admin(bootstrap(world.settings)) as client:
        client.delete_topics([world.name])
    world.worker().reads()
    assert world.is_shown()


def test_a_rebuild_and_its_switch_publish_nothing(world: PayoutTopicWorld) -> None:
    world.worker().reads()
    before = world.records()
    second = world.rebuild()
    world.switch(second)
    world.worker(second).reads()
    assert world.records() == before
    assert world.is_shown()


def test_a_switch_to_another_fold_publishes_what_differs_and_a_roll_back_too(world: PayoutTopicWorld) -> None:
    world.worker().reads()
    second = world.rebuild(OTHER)
    world.switch(second)
    new = world.worker(second, projection=OTHER)
    new.reads()
    assert world.is_shown(OTHER)
    # The generation that the topic showed is dropped: what it had is on record outside generations.
    world.backends.stores.sink(PAYOUTS, 1).drop()
    third = world.rebuild()
    world.switch(third)
    world.worker(third).reads()
    assert world.is_shown()


def test_a_worker_whose_generation_is_not_active_any_more_publishes_nothing(world: PayoutTopicWorld) -> None:
    """It believes that it is: the switch was a moment ago."""
    world.worker().reads()
    second = world.rebuild(OTHER)
    world.switch(second)
    world.worker(second, projection=OTHER).reads()
    before = world.records()
    world.worker(1).reads(world.deliver("anna", "new", 900.0))
    assert world.records() == before


def test_a_generation_that_is_not_active_creates_no_topic(world: PayoutTopicWorld) -> None:
    world.worker(is_active=lambda: False).reads()
    with admin(bootstrap(world.settings)) as client:
        assert client.describe_topics([world.name])[0]["error_code"]


def test_entries_that_a_restored_log_does_not_have_are_deleted_from_the_topic(world: PayoutTopicWorld) -> None:
    kept = len(world.log.events)
    world.deliver("anna", "lost", 900.0)
    world.worker().reads()
    world.log = world.log.restored_to(kept)
    worker = world.worker()
    worker.reads()
    worker.reads()
    assert world.is_shown()


class UnreachableOnce(UncertainRecords):
    """Postgres is unavailable when the failure is to be recorded, and available again later."""

    is_reachable = False

    def settle(self, projection: str) -> None:
        if self._left and not self.is_reachable:
            self.is_reachable = True
            raise PortUnavailable("Postgres is unavailable")
        super().settle(projection)


@pytest.mark.parametrize("records_later", [False, True], ids=["at once", "when Postgres is back"])
def test_the_records_of_a_worker_that_was_overtaken_are_replaced(world: PayoutTopicWorld, records_later: bool) -> None:
    """Given a worker that freezes while it sends, when it sends after a switch, then the topic shows the new fold.

    Its payouts have other values in the new generation, and its adjustments are not in it.
    """
    world.worker().reads()
    second = world.rebuild(OTHER)
    events = world.deliver("anna", "new", 900.0)
    uncertain = (UnreachableOnce if records_later else UncertainRecords)(world.backends.sink_engine)
    late = world.worker(uncertain=uncertain)
    successor = world.worker(second, projection=OTHER)
    assert late.publisher is not None

    def frozen() -> None:
        assert late.publisher is not None
        late.publisher.before = lambda: None
        assert world.end_open_transactions() == 1
        world.switch(second)
        successor.reads(events)
        assert world.is_shown(OTHER)

    late.publisher.before = frozen
    assert late.dies(events)
    assert not world.is_shown(OTHER)
    # A worker opens another sink after a failure. Its generation is not active any more.
    world.worker(is_active=lambda: False, uncertain=uncertain).reads()
    successor.reads()
    assert world.is_shown(OTHER)


def test_a_worker_that_is_frozen_before_it_sends_sends_nothing(world: PayoutTopicWorld) -> None:
    """Its session has ended meanwhile: it detects that before the first record."""
    world.worker().reads()
    events = world.deliver("anna", "new", 900.0)

    class Frozen(UncertainRecords):
        def announce(self, projection: str, shard: int, sending: Mapping[str, int]) -> None:
            super().announce(projection, shard, sending)
            assert world.end_open_transactions() == 1

    before = world.records()
    assert world.worker(uncertain=Frozen(world.backends.sink_engine)).dies(events)
    assert world.records() == before
    world.worker().reads()
    assert world.is_shown()


class Killed(BaseException):
    """The process ends at once: nothing of it runs any more."""


def killed() -> None:
    raise Killed


def test_an_entry_that_only_a_killed_worker_published_is_withdrawn_by_another_fold(world: PayoutTopicWorld) -> None:
    world.worker().reads()
    second = world.rebuild(OTHER)
    worker = world.worker()
    assert worker.publisher is not None
    worker.publisher.after = killed
    events = world.deliver("anna", "new", 900.0)
    with pytest.raises(Killed):
        worker.reads(events)
    assert world.is_shown()
    world.switch(second)
    world.worker(second, projection=OTHER).reads(events)
    assert world.is_shown(OTHER)


def test_an_entry_that_a_killed_worker_withdrew_is_published_again_after_a_roll_back(world: PayoutTopicWorld) -> None:
    world.worker().reads()
    second = world.rebuild(OTHER)
    world.switch(second)
    worker = world.worker(second, projection=OTHER)
    publisher = worker.publisher
    assert publisher is not None

    def killed_after_a_withdrawal() -> None:
        if not all(record.value for record in publisher.batches[-1]):
            raise Killed

    publisher.after = killed_after_a_withdrawal
    with pytest.raises(Killed):
        worker.reads()
    world.switch(1)
    world.worker().reads()
    assert world.is_shown()


def test_withdrawals_are_sent_page_by_page(world: PayoutTopicWorld) -> None:
    world.worker().reads()
    second = world.rebuild(OTHER)
    world.switch(second)
    world.page_rows = 1
    worker = world.worker(second, projection=OTHER)
    worker.reads()
    assert world.is_shown(OTHER)
    assert worker.publisher is not None
    withdrawn = [batch for batch in worker.publisher.batches if not all(record.value for record in batch)]
    adjustments = sum(entry["kind"] == "adjustment" for entry in expected(world.log.events).values())
    assert [len(batch) for batch in withdrawn] == [1] * adjustments


def test_a_call_publishes_for_a_limited_time_and_the_next_one_continues(world: PayoutTopicWorld) -> None:
    """Each page takes as long as a call may publish. So does a worker that ends after each of them."""
    world.page_rows = 1
    world.silent_worker().reads()
    every = len(expected(world.log.events))
    instant_s = 0.0
    sent: list[int] = []

    def is_slow() -> None:
        nonlocal instant_s
        instant_s += PUBLISHING_BUDGET_S

    while not world.is_shown():
        worker = world.worker(clock=lambda: instant_s)
        assert worker.publisher is not None
        worker.publisher.before = is_slow
        worker.sink.fences(range(SHARDS))
        sent.append(sum(len(batch) for batch in worker.publisher.batches))
        assert sum(sent) <= every
    # No entry is sent twice. The last call finds nothing more to compare.
    assert sum(sent) == every
    assert set(sent) == {1}
