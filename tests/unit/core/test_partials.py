"""A partial table is the sum of its shard's events, whatever parks, crashes, refolds or rebuilds on the way."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.features.keyed_event import KeyedEvent
from domain.features.partials import (
    MAX_AMOUNT,
    AmountTooLarge,
    PartialDelta,
    PartialSlot,
    PartialTable,
    apply_changes,
    collect,
    merge_slots,
)
from domain.identifiers import SHARDS, shard_of
from projections.analytics import ANALYTICS
from projections.core.fold import Fold
from projections.core.parked_keys import ParkedKeys
from projections.core.partials import MergedPartials
from projections.core.ports import LoggedEvent, ShardWrite
from projections.core.projection import MAX_PARTIAL_SLOTS
from projections.digest.digest import fold_digest
from projections.live.stream_follower import StreamFollower
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.comparison import GenerationComparison
from projections.replay.as_of import AsOf
from projections.replay.shard_replay import replay_shard
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from tests.support.ports_in_memory.archive import MemoryArchive
from tests.support.ports_in_memory.projection_ports import (
    MemoryLog,
    MemoryPartialReader,
    MemorySink,
    ScriptedTopic,
    ServerUnavailable,
)
from tests.support.worlds.retries import Registry
from tests.support.worlds.tallying_projection import LAST_SEEN, SLOTS, TALLIED

T_MS = 1_790_000_000_000
RIDERS = tuple(f"rider-{number}" for number in range(9))
histories = st.lists(st.tuples(st.sampled_from(RIDERS), st.integers(0, 20_000)), min_size=1, max_size=60)
"""(rider, second of the event): over more hours than the ring of the projection has slots."""


def a_log(history: Sequence[tuple[str, int]]) -> MemoryLog:
    log = MemoryLog()
    for number, (rider, second) in enumerate(history):
        log.append(rider, "GpsPing", {"event_timestamp_ms": T_MS + second * 1_000, "serial": number})
    return log


def expected(events: Sequence[LoggedEvent]) -> dict[int, PartialTable]:
    """The table of each shard, delta by delta."""
    states: dict[str, Any] = {}
    tables: dict[int, PartialTable] = defaultdict(dict)
    assert TALLIED.partials is not None
    for e in events:
        old = states.get(e.key, TALLIED.initial)
        states[e.key] = TALLIED.fold(old, KeyedEvent(e.key, e.version, e.position, e.event_type, json.loads(e.payload)))
        for delta in TALLIED.partials(old, states[e.key]):
            changes: PartialTable = {}
            collect(changes, [delta])
            apply_changes(tables[e.shard], changes)
    return dict(tables)


def read(copy: MergedPartials) -> tuple[dict[int, PartialTable], dict[str, tuple[int, ...]]]:
    return {shard: ring for shard, ring in copy.rings.items() if ring}, copy.permanent[LAST_SEEN]


def merged(tables: dict[int, PartialTable]) -> tuple[dict[int, PartialTable], dict[str, tuple[int, ...]]]:
    """The same of whole tables: the ring of each shard, and the sums of the permanent slot over all shards."""
    rings = {shard: {n: slot for n, slot in table.items() if n != LAST_SEEN} for shard, table in tables.items()}
    return rings, merge_slots(tables.values(), LAST_SEEN, 0)


def a_runner(log: MemoryLog, sink: MemorySink, decode: Any = json.loads) -> StreamFollower[Any]:
    return StreamFollower(TALLIED, log_port=log, consumer=ScriptedTopic(), sink=sink, decode=decode, partitions=8)


@settings(max_examples=60)
@given(history=histories, crashes=st.lists(st.booleans(), max_size=8), cut=st.integers(0, 20))
def test_invariant_8_crashes_and_parts_make_no_difference(
    history: list[tuple[str, int]], crashes: list[bool], cut: int
) -> None:
    log, sink = a_log(history), MemorySink()

    def maybe_crash(writes: Sequence[ShardWrite]) -> None:
        if crashes and crashes.pop():
            sink.before_apply = lambda _: None
            sink.apply(writes[:1])
            sink.before_apply = maybe_crash
            raise ServerUnavailable("killed")

    sink.before_apply = maybe_crash
    for targets in (dict.fromkeys(range(SHARDS), cut), None):
        while True:
            try:
                CatchUp(TALLIED, log, sink, json.loads, range(SHARDS)).run(targets)
                break
            except ServerUnavailable:
                continue
    assert sink.all_partials() == expected(log.events)


@settings(max_examples=40)
@given(history=histories, data=st.data())
def test_invariant_10_a_retry_of_a_parked_key_adds_its_partials_once(
    history: list[tuple[str, int]], data: st.DataObject
) -> None:
    log, sink = a_log(history), MemorySink()
    registry = Registry({data.draw(st.integers(0, len(history) - 1))})
    copy, reader = MergedPartials([LAST_SEEN]), MemoryPartialReader(sink)
    a_runner(log, sink, registry.decode).step(0)
    [parked] = sink.all_parked()
    copy.update(reader, range(SHARDS))
    registry.unknown.clear()
    assert ParkedKeys(TALLIED, sink, log, registry.decode, lambda: 0).retry(parked).verdict == "unparked"
    assert sink.all_partials() == expected(log.events)
    copy.update(reader, range(SHARDS))
    assert read(copy) == merged(expected(log.events))


@settings(max_examples=40)
@given(history=histories, then=histories, data=st.data())
def test_invariant_14_a_restored_log_is_refolded_with_its_partials(
    history: list[tuple[str, int]], then: list[tuple[str, int]], data: st.DataObject
) -> None:
    log, sink = a_log(history), MemorySink()
    runner, copy, reader = a_runner(log, sink), MergedPartials([LAST_SEEN]), MemoryPartialReader(sink)
    runner.step(0)
    copy.update(reader, range(SHARDS))
    older = log.restored_to(data.draw(st.integers(0, len(history))))
    log.events, log._seqs, log._versions = older.events, older._seqs, older._versions
    for rider, second in then:
        log.append(rider, "GpsPing", {"event_timestamp_ms": T_MS + second * 1_000 + 7, "serial": 0})
    for _ in range(6):
        runner.idle_check()
        runner.step(0)
    assert sink.all_partials() == expected(log.events)
    assert sink.staging().all_partials() == {}
    copy.update(reader, range(SHARDS))
    assert read(copy) == merged(expected(log.events))


def test_a_comparison_of_generations_finds_a_sum_that_differs() -> None:
    log, live, rebuilt = a_log([(rider, 400 * n) for n, rider in enumerate(RIDERS)]), MemorySink(), MemorySink()
    for sink in (live, rebuilt):
        CatchUp(TALLIED, log, sink, json.loads, range(SHARDS)).run()

    def compared() -> GenerationComparison:
        found = GenerationComparison("tallied", 1, 2, 1, 1)
        for shard in range(SHARDS):
            found.add_shard(TALLIED, shard, live.dump(shard), rebuilt.dump(shard))
        return found

    assert compared().clean
    shard = shard_of(RIDERS[0])
    [slot] = [slot for slot in rebuilt.partials[shard] if slot != SLOTS - 1][:1]
    bucket, sums = rebuilt.partials[shard][slot]
    rebuilt.partials[shard][slot] = PartialSlot(bucket, sums | {"seen": (sums["seen"][0], sums["seen"][1] + 1)})
    [difference] = compared().examples
    assert (difference.shard, difference.name) == (shard, f"row partials {slot} seen")


@given(history=histories)
def test_invariant_8_a_replay_of_a_shard_has_its_table(history: list[tuple[str, int]]) -> None:
    archive = MemoryArchive()
    for number, (rider, second) in enumerate(history):
        archive.append(rider, "GpsPing", {"event_timestamp_ms": T_MS + second * 1_000, "serial": number})
    horizon = archive.horizon(AsOf.at_position(len(history)))
    source = ReplaySource(TALLIED, archive, json.loads)
    found = {shard: replay_shard(source, shard, horizon).partials for shard in range(SHARDS)}
    assert {shard: table for shard, table in found.items() if table} == expected(archive.events)


def test_no_fold_with_partials_makes_or_starts_at_a_snapshot() -> None:
    log = a_log([(RIDERS[0], 1), (RIDERS[0], 2)])
    done = Fold(TALLIED, json.loads, lambda: 0, 1).run(log.events, lambda _: None, (), ())
    assert (list(done.snapshots), TALLIED.starts_at_snapshots) == ([], False)
    assert (SPEED.starts_at_snapshots, ANALYTICS.starts_at_snapshots) == (True, False)


def first(_old: Any, _new: Any) -> list[PartialDelta]:
    return [PartialDelta(0, 0, "x", (1,))]


def last(_old: Any, _new: Any) -> list[PartialDelta]:
    return [PartialDelta(0, 0, "x", (2,))]


def test_invariant_9_partials_and_their_slots_are_part_of_the_digest() -> None:
    versions = [SPEED, replace(SPEED, partials=first, partial_slots=1), replace(SPEED, partials=last, partial_slots=1)]
    versions.append(replace(SPEED, partials=first, partial_slots=2))
    assert len({fold_digest(version) for version in versions}) == 4


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"partials": first}, "needs 1 to"),
        ({"partial_slots": 1}, "needs 1 to"),
        ({"partials": first, "partial_slots": MAX_PARTIAL_SLOTS + 1}, "needs 1 to"),
        ({"partials": first, "partial_slots": 1, "store": "postgres"}, "only store='redis'"),
    ],
)
def test_a_declaration_that_no_sink_can_store_is_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SPEED, **declared)


@pytest.mark.parametrize(
    "delta",
    [
        PartialDelta(-1, 0, "x", (1,)),
        PartialDelta(SLOTS, 0, "x", (1,)),
        PartialDelta(0, -1, "x", (1,)),
        PartialDelta(0, 0, "", (1,)),
        PartialDelta(0, 0, "a\nb", (1,)),
        PartialDelta(0, 0, "x", ()),
        PartialDelta(0, 0, "x", (MAX_AMOUNT + 1,)),
        PartialDelta(0, 0, "x", (0, -MAX_AMOUNT - 1)),
    ],
    ids=repr,
)
def test_invariant_10_an_impossible_delta_parks_its_key(delta: PartialDelta) -> None:
    broken = replace(TALLIED, partials=lambda old, new: [delta])
    log = a_log([(RIDERS[0], 1)])
    done = Fold(broken, json.loads, lambda: 0).run(log.events, lambda _: None, (), ())
    assert (done.states, done.partials) == ({}, {})
    assert done.parked[RIDERS[0]].kind == "fold"


def test_slots_of_one_bucket_are_merged_over_shards() -> None:
    tables: list[PartialTable] = [
        {0: PartialSlot(12, {"x": (1, 2), "y": (3, 3)}), 1: PartialSlot(1, {"x": (9, 9)})},
        {0: PartialSlot(12, {"x": (4, 5), "y": (-3, -3)})},
        {0: PartialSlot(24, {"x": (100, 100)})},
        {},
    ]
    assert merge_slots(tables, 0, 12) == {"x": (5, 7)}
    assert merge_slots(tables, 0, 24) == {"x": (100, 100)}
    assert merge_slots(tables, 2, 0) == {}
    with pytest.raises(AmountTooLarge):
        merge_slots([*tables, {0: PartialSlot(12, {"x": (1,)})}], 0, 12)


hourly = st.tuples(
    st.integers(0, 2), st.integers(0, 1), st.integers(0, 3), st.sampled_from("xy"), st.sampled_from([-1, 1, 2])
)


@given(st.lists(hourly, max_size=20), st.randoms(use_true_random=False))
def test_invariant_8_of_a_slot_of_hours_the_newest_of_any_shard_counts_over_all_shards(
    given_deltas: list[tuple[int, int, int, str, int]], chance: Any
) -> None:
    """Whatever the order of deltas and shards: the sums over all shards are those of the tables of the shards."""
    merged, tables = MergedPartials([0, 1]), defaultdict[int, PartialTable](dict)
    for shard, slot, bucket, field, amount in given_deltas:
        changes: PartialTable = {}
        collect(changes, [PartialDelta(slot, bucket, field, (amount,))])
        apply_changes(tables[shard], changes)
    chance.shuffle(given_deltas)
    copy: dict[int, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for shard, slot, bucket, field, amount in given_deltas:
        merged.apply(shard, {slot: PartialSlot(bucket, {field: (amount,)})})
        # As a reader that takes over only what changed.
        for name in merged.changed.pop(slot, ()):
            copy[slot].pop(name, None)
            copy[slot] |= {name: merged.permanent[slot][name]} if name in merged.permanent[slot] else {}
    newest = {
        slot: max(table[slot].bucket for table in tables.values() if slot in table)
        for slot in {slot for table in tables.values() for slot in table}
    }
    expected = {slot: merge_slots(tables.values(), slot, bucket) for slot, bucket in newest.items()}
    assert merged.buckets == newest
    assert dict(merged.permanent) == expected == {slot: copy.get(slot, {}) for slot in newest}
