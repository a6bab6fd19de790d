"""The topic ``payouts`` on a real broker and a real Postgres: it alone has each entry once, as the log makes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from domain.features.keyed_event import KeyedEvent
from domain.features.payouts.fold import PayoutState, fold
from infrastructure.backends import Backends
from infrastructure.kafka.admin import admin
from infrastructure.kafka.clients import bootstrap
from infrastructure.settings.settings import Settings
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


def test_the_records_of_a_worker_that_was_overtaken_are_replaced(world: PayoutTopicWorld) -> None:
    """A frozen worker of the old generation may send after the switch: it detects that, and the shard is repeated."""
    late = world.worker()
    late.reads()
    second = world.rebuild(OTHER)
    events = world.deliver("anna", "new", 900.0)
    publisher = late.publisher
    assert publisher is not None

    def frozen() -> None:
        # The server has ended its transaction meanwhile, and another worker has published.
        publisher.before = lambda: None
        raise PortUnavailable("its session has ended")

    publisher.before = frozen
    assert late.dies(events)
    world.switch(second)
    successor = world.worker(second, projection=OTHER)
    successor.reads(events)
    before = len(world.records())
    late.reads()
    successor.reads()
    assert len(world.records()) > before
    assert world.is_shown(OTHER)
