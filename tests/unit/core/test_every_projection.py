"""Invariant 8, for every projection of the catalogue: live = rebuilt = any batching, redelivery, split and crash."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from domain.features.partials import PartialTable, apply_changes, collect
from domain.identifiers import SHARDS
from projections.catalogue import PROJECTIONS
from projections.core.ports import ShardWrite
from projections.core.projection import Projection
from projections.core.shard_processor import ProcessorLimits
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.comparison import digest
from read_models.rows import RowChange, merged
from tests.support.ports_in_memory.projection_ports import MemoryLog, MemorySink, ScriptedTopic, ServerUnavailable
from tests.support.worlds.histories import History, histories_of

every_projection = pytest.mark.parametrize("projection", PROJECTIONS.values(), ids=lambda p: p.name)
PARTIALS = "partials"


def a_log(projection: Projection[Any], history: History) -> MemoryLog:
    log = MemoryLog(projection.stream)
    for key, event_type, data in history:
        log.append(key, event_type, data)
    return log


Rows = dict[tuple[int, str, tuple[Any, ...]], RowChange]


def one_by_one(projection: Projection[Any], log: MemoryLog) -> tuple[dict[str, bytes], Rows, dict[int, PartialTable]]:
    """States, rows and partial tables by the fold alone, event by event."""
    states: dict[str, Any] = {}
    partials: dict[int, PartialTable] = defaultdict(dict)
    rows: list[tuple[int, RowChange]] = []
    for e in log.events:
        event = KeyedEvent(e.key, e.version, e.position, e.event_type, json.loads(e.payload))
        # Encoded and decoded each time, as if a new worker folded every event.
        before = states.get(e.key)
        state = projection.initial if before is None else projection.decode(before)
        old, state = state, projection.fold(state, event)
        states[e.key] = projection.encode(state)
        if projection.partials is not None and (deltas := list(projection.partials(old, state))):
            changed: PartialTable = {}
            collect(changed, deltas)
            apply_changes(partials[e.shard], changed)
        rows += [(e.shard, change) for change in projection.changes(e.key, state)]
    whole = {
        (shard, row.table, row.key): row
        for shard in range(SHARDS)
        for row in merged(change for s, change in rows if s == shard)
    }
    return states, whole, dict(partials)


def content(sink: MemorySink) -> list[str]:
    return [digest(sink.dump(shard)) for shard in range(SHARDS)]


def right(projection: Projection[Any], log: MemoryLog, sink: MemorySink) -> bool:
    return (sink.all_states(), sink.all_rows(), sink.all_partials()) == one_by_one(projection, log)


@pytest.mark.parametrize(
    ("name", "table"),
    [(one.name, each.table.name) for one in PROJECTIONS.values() for each in one.tables]
    + [(one.name, PARTIALS) for one in PROJECTIONS.values() if one.partials is not None],
)
def test_the_histories_of_these_tests_reach_every_table(name: str, table: str) -> None:
    """A table without a row would be the same in every store."""
    projection = PROJECTIONS[name]

    def reaches(history: History) -> bool:
        _, rows, partials = one_by_one(projection, a_log(projection, history))
        return table in {named for _, named, _ in rows} | {PARTIALS for one in partials.values() if one}

    some = settings(max_examples=2_000, phases=[Phase.generate], database=None)
    find(histories_of(projection), reaches, settings=some, random=Random(1))


@every_projection
@settings(max_examples=60)
@given(data=st.data())
def test_invariant_8_live_is_the_fold_whatever_kafka_does(projection: Projection[Any], data: st.DataObject) -> None:
    history = data.draw(histories_of(projection))
    log, topic, sink = MemoryLog(projection.stream), ScriptedTopic(), MemorySink()
    limits = ProcessorLimits(
        fill_events=data.draw(st.integers(1, 20)), cached_states_per_shard=data.draw(st.integers(0, 2))
    )
    runner: StreamFollower[Any] = StreamFollower(
        projection, log_port=log, consumer=topic, sink=sink, decode=json.loads, partitions=8, limits=limits
    )
    runner.step(0)
    for key, event_type, record in history:
        log.append(key, event_type, record)
    for _ in range(data.draw(st.integers(1, 4))):
        topic.deliver(data.draw(st.lists(st.sampled_from(log.events), max_size=60)))
    while topic.batches:
        runner.step(0)
    runner.idle_check()
    runner.idle_check()
    assert right(projection, log, sink)


@every_projection
@settings(max_examples=40)
@given(data=st.data(), cuts=st.lists(st.integers(0, 80), max_size=3))
def test_invariant_8_a_rebuild_gives_the_same_bytes(
    projection: Projection[Any], data: st.DataObject, cuts: list[int]
) -> None:
    whole = a_log(projection, data.draw(histories_of(projection)))
    live, rebuilt = MemorySink(), MemorySink()
    CatchUp(projection, whole, live, json.loads, range(SHARDS)).run()
    # The same events in two halves of the shards; each is aborted at times, and another worker resumes it.
    head = whole.head(projection.stream)
    for half in (range(0, SHARDS, 2), range(1, SHARDS, 2)):
        for cut in sorted(cuts):
            targets = {shard: min(cut, head.seqs[shard]) for shard in half}
            CatchUp(projection, whole, rebuilt, json.loads, half).run(targets)
        CatchUp(projection, whole, rebuilt, json.loads, half, ProcessorLimits(cached_states_per_shard=1)).run()
    assert right(projection, whole, live)
    assert content(rebuilt) == content(live)


@every_projection
@settings(max_examples=40)
@given(data=st.data(), crashes=st.lists(st.booleans(), max_size=6))
def test_invariant_8_workers_that_crash_and_change_places_give_the_same_bytes(
    projection: Projection[Any], data: st.DataObject, crashes: list[bool]
) -> None:
    log, sink = a_log(projection, data.draw(histories_of(projection))), MemorySink()

    def maybe_crash(writes: Sequence[ShardWrite]) -> None:
        if crashes and crashes.pop():
            sink.before_apply = lambda _: None
            sink.apply(writes[:1])  # the first shard's write was stored, but its response was lost
            sink.before_apply = maybe_crash
            raise ServerUnavailable("killed")

    sink.before_apply = maybe_crash
    topics = [ScriptedTopic(), ScriptedTopic()]
    topics[0].assigned, topics[1].assigned = dict.fromkeys(range(4), 1), dict.fromkeys(range(4, 8), 1)
    turn = 0
    while True:
        workers: list[StreamFollower[Any]] = [
            StreamFollower(projection, log_port=log, consumer=t, sink=sink, decode=json.loads, partitions=8)
            for t in topics
        ]
        try:
            for worker, topic in zip(workers, topics, strict=True):
                topic.deliver(log.events[turn % 2 :: 2])
                while topic.batches:
                    worker.step(0)
        except ServerUnavailable:
            # A rebalance: the partitions move to another worker in the middle.
            turn += 1
            topics[0].assigned, topics[1].assigned = topics[1].assigned, topics[0].assigned
            for topic in topics:
                topic.batches.clear()
            continue
        break
    assert right(projection, log, sink)
