"""The compacted topic of a sink in memory: after any crash between the two, the topic alone gives the state."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import shard_of
from projections.core.ports import PortUnavailable
from tests.support.ports_in_memory.projection_ports import ServerUnavailable
from tests.support.ports_in_memory.published_topic import PARTITIONS, TOPIC
from tests.support.worlds.locations import highest, location
from tests.support.worlds.locations_world import HISTORY, T_MS, Worker, World, dies_at, folded, overtaken_by
from tests.support.worlds.speed_events import histories


def test_every_applied_state_is_published_with_its_position() -> None:
    world = World()
    worker = world.worker()
    worker.reads()
    assert world.is_shown()
    worker.reads(*world.ping(("rider-1", 90), ("rider-2", 91), ("rider-1", 92)))
    assert world.is_shown()
    for record in world.published.broker.records(TOPIC):
        assert record.headers == (("position", b"%d" % location(record.value)["position"]),)
        assert record.partition == shard_of(record.key.decode()) % PARTITIONS


def test_a_late_ping_is_published_too_so_that_position_is_the_states() -> None:
    world = World([("rider-1", 50)])
    worker = world.worker()
    worker.reads()
    worker.reads(*world.ping(("rider-1", 3)))
    (shown,) = highest(world.published.records()).values()
    assert (shown["position"], shown["version"], shown["event_timestamp_ms"]) == (2, 2, T_MS + 50_000)


def test_nothing_is_published_again_without_new_events() -> None:
    world = World()
    world.worker().reads()
    before = world.published.records()
    successor = world.worker()
    successor.reads()
    successor.runner.idle_check()
    assert world.published.records() == before


CRASHES: dict[str, Callable[[World], Worker]] = {}


def crash(name: str) -> Callable[[Callable[[World], Worker]], None]:
    def register(make: Callable[[World], Worker]) -> None:
        CRASHES[name] = make

    return register


@crash("before the compare-and-set")
def _(world: World) -> Worker:
    world.sink.before_apply = dies_at(1)
    return world.worker()


@crash("after it, before the first record")
def _(world: World) -> Worker:
    return world.worker(before=dies_at(1))


@crash("between two records")
def _(world: World) -> Worker:
    return world.worker(before=dies_at(2))


@crash("between two batches of records")
def _(world: World) -> Worker:
    return world.worker(before=dies_at(2), batch_records=1)


@crash("before the acknowledgement")
def _(world: World) -> Worker:
    world.published.broker.acknowledging = False
    return world.worker()


@crash("before the checkpoint")
def _(world: World) -> Worker:
    world.published.marks.before_move = dies_at(1)
    return world.worker()


@crash("after the checkpoint")
def _(world: World) -> Worker:
    world.published.marks.after_move = dies_at(1)
    return world.worker()


@pytest.mark.parametrize("crashing_worker", CRASHES.values(), ids=CRASHES)
@pytest.mark.parametrize("before", [[], HISTORY], ids=["of empty shards", "of shards with a checkpoint"])
@pytest.mark.parametrize("same_worker", [True, False], ids=["the same worker continues", "another worker continues"])
def test_a_crash_at_any_step_loses_nothing(
    crashing_worker: Callable[[World], Worker], before: list[tuple[str, int]], same_worker: bool
) -> None:
    world = World(before)
    world.worker().reads()
    worker = crashing_worker(world)
    news = world.ping(("rider-1", 60), ("rider-2", 61), ("rider-3", 62), ("rider-1", 63))
    with pytest.raises(PortUnavailable):
        worker.reads(*news)
    world.published.broker.acknowledging = True
    (worker if same_worker else world.worker()).reads()
    assert world.is_shown()


def test_only_changes_since_the_checkpoint_are_published_again() -> None:
    world = World()
    world.worker().reads()
    world.published.marks.before_move = dies_at(1)
    with pytest.raises(ServerUnavailable):
        world.worker().reads(*world.ping(("rider-1", 60)))
    before = len(world.published.records())
    world.worker().reads()
    assert len(world.published.records()) == before + 1
    assert world.is_shown()


def test_a_wiped_topic_is_filled_again_without_new_events() -> None:
    world = World()
    worker = world.worker()
    worker.reads()
    world.published.broker.wipe()
    worker.runner.idle_check()
    assert world.published.made == 2
    assert world.is_shown()


def test_a_topic_wiped_during_a_batch_is_filled_at_the_next_check() -> None:
    world = World()
    worker = world.worker()
    worker.reads()
    world.published.broker.wipe()
    world.published.identity()
    worker.reads(*world.ping(("rider-1", 60)))
    assert list(highest(world.published.records())) == ["rider-1"]
    worker.runner.idle_check()
    assert world.is_shown()


def test_an_unavailable_broker_stops_the_shards_and_loses_nothing() -> None:
    world = World()
    worker = world.worker()
    worker.reads()
    world.published.broker.accepting = False
    with pytest.raises(PortUnavailable, match="without acknowledgement"):
        worker.reads(*world.ping(("rider-1", 60)))
    with pytest.raises(PortUnavailable, match="unavailable"):
        worker.reads()
    world.published.broker.accepting = True
    worker.reads()
    assert world.is_shown()


def test_a_record_that_the_broker_rejects_is_published_by_the_next_publisher() -> None:
    world = World()
    worker = world.worker()
    worker.reads()
    world.published.broker.fail_next("not enough replicas")
    with pytest.raises(PortUnavailable, match="not enough replicas"):
        worker.reads(*world.ping(("rider-1", 60)))
    worker.reads()
    assert world.is_shown()


def test_an_inactive_generation_publishes_nothing_and_contacts_no_broker() -> None:
    world = World()
    world.published.broker.accepting = False
    worker = world.worker(active=lambda: False)
    worker.reads()
    worker.reads(*world.ping(("rider-1", 60)))
    worker.runner.idle_check()
    assert world.published.records() == []
    assert world.sink.held


DISTURBANCES = ("none", "record", "before the checkpoint", "after the checkpoint", "wiped", "overtaken")


@given(histories, st.data())
def test_invariant_8_the_topic_alone_gives_the_state(history: list[tuple[str, int]], data: st.DataObject) -> None:
    """Holds however often workers crash, conflict or lose the topic, and with records compacted, repeated or
    reordered."""
    world = World([])
    marks, workers = world.published.marks, [world.worker()]
    while history:
        count = data.draw(st.integers(1, len(history)))
        news, history = world.ping(*history[:count]), history[count:]
        what = data.draw(st.sampled_from(DISTURBANCES))
        if what == "record":
            workers.append(world.worker(before=dies_at(data.draw(st.integers(1, 4)))))
        elif what == "wiped":
            world.published.broker.wipe()
        elif what == "overtaken":
            workers.append(world.worker(before=overtaken_by(world.worker(), world, data.draw(st.integers(1, 4)))))
        marks.before_move = dies_at(1 if what == "before the checkpoint" else 0)
        marks.after_move = dies_at(1 if what == "after the checkpoint" else 0)
        for worker in data.draw(st.permutations(workers)):
            try:
                worker.reads(*data.draw(st.lists(st.sampled_from(news), max_size=20)))
                worker.runner.idle_check()
            except PortUnavailable:
                # Killed permanently, or restarted from the fences.
                if data.draw(st.booleans()):
                    workers.remove(worker)
    marks.before_move = marks.after_move = dies_at(0)
    last = world.worker()
    last.reads()
    last.runner.idle_check()
    assert world.is_shown()
    records = world.published.records()
    again = data.draw(st.lists(st.sampled_from(records), max_size=10))
    assert highest(data.draw(st.permutations(records + again))) == folded(world.log.events)
