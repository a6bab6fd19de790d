"""Partial tables on every sink that keeps them, with their reader: in memory, and on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.features.partials import MAX_AMOUNT, PartialDelta, PartialSlot, PartialTable, apply_changes, collect
from infrastructure.redis.connection import RedisClient, connect, connect_server
from infrastructure.redis.partial_reader import RedisPartialReader
from infrastructure.redis.projection_sink import RedisSink
from projections.core.partials import MergedPartials, PartialReader, ShardPartials, dump_rows
from projections.core.ports import ApplyOutcome, Fence, ParkedEvent, ShardDump, ShardWrite, Sink, SinkRejected
from read_models.redis_keys import fence_key
from tests.support.ports_in_memory.projection_ports import MemoryPartialReader, MemorySink

APPLIED, FENCE_CONFLICT = ApplyOutcome.APPLIED, ApplyOutcome.FENCE_CONFLICT
START = Fence("log-1", "one", 0, 0)
PARKED = ParkedEvent(2, 20, 2, "GpsPing", "decode", "unreadable", 0)
SLOTS = 4
PERMANENT = SLOTS - 1
SHARD = 3


class Kept(NamedTuple):
    """``client`` and ``keys``, all that are stored, are of a real server."""

    sink: Sink
    reader: PartialReader
    client: RedisClient | None = None
    keys: Callable[[], object] = list


@pytest.fixture(params=["memory", "redis", "redis cluster"])
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    if request.param == "memory":
        sink = MemorySink()
        yield Kept(sink, MemoryPartialReader(sink))
        return
    client: RedisClient
    keys: Callable[[], object]
    if request.param == "redis":
        client = connect_server(request.getfixturevalue("redis_url"))
        keys = client.keys
    else:
        client = connect(request.getfixturevalue("redis_cluster_url"))
        keys = request.getfixturevalue("redis_cluster").keys
    reader = RedisPartialReader(client, "tallied", 1, SLOTS)
    yield Kept(RedisSink(client, "tallied", 1, partial_slots=SLOTS), reader, client, keys)
    client.close()


def at(seq: int) -> Fence:
    return START._replace(seq=seq, position=seq * 10)


def slot(bucket: int, **sums: tuple[int, ...]) -> PartialSlot:
    return PartialSlot(bucket, dict(sums))


def write(seq: int, partials: Mapping[int, PartialSlot], expected: int | None = None) -> ShardWrite:
    held = at(seq - 1 if expected is None else expected) if seq > 1 else None
    return ShardWrite(SHARD, held, at(seq), {"a": str(seq).encode()}, partials=partials)


def rows(table: PartialTable) -> dict[str, bytes]:
    return dict(dump_rows(table))


def test_partials_move_with_states_and_fence(kept: Kept) -> None:
    assert kept.sink.apply([write(1, {0: slot(7, x=(1, 2), y=(0, 3)), 3: slot(0, z=(5,))})]) == [APPLIED]
    assert kept.sink.apply([write(2, {0: slot(7, x=(10, 20))})]) == [APPLIED]
    table = {0: slot(7, x=(11, 22), y=(0, 3)), 3: slot(0, z=(5,))}
    assert kept.sink.dump(SHARD) == ShardDump(at(2), {"a": b"2"}, rows(table), {})
    assert kept.reader.read([SHARD], {}) == {SHARD: ShardPartials(at(2), [table], True)}


def test_invariant_4_a_fence_conflict_adds_nothing(kept: Kept) -> None:
    kept.sink.apply([write(1, {0: slot(7, x=(1,))}), ShardWrite(4, None, at(1), {}, partials={0: slot(7, x=(4,))})])
    writes = [
        write(3, {0: slot(7, x=(1,))}, expected=2),
        ShardWrite(4, at(1), at(2), {}, partials={1: slot(8, y=(2,))}),
    ]
    assert kept.sink.apply(writes) == [FENCE_CONFLICT, APPLIED]
    assert kept.sink.dump(SHARD).rows == rows({0: slot(7, x=(1,))})
    assert kept.sink.dump(4).rows == rows({0: slot(7, x=(4,)), 1: slot(8, y=(2,))})


def test_a_newer_bucket_replaces_a_slot_and_an_older_one_is_ignored(kept: Kept) -> None:
    kept.sink.apply([write(1, {0: slot(12, x=(1,), y=(2,))})])
    kept.sink.apply([write(2, {0: slot(24, y=(5,))})])
    kept.sink.apply([write(3, {0: slot(12, x=(9,), y=(9,))})])
    assert kept.sink.dump(SHARD).rows == rows({0: slot(24, y=(5,))})


def test_a_field_without_sums_is_removed_and_its_slot_keeps_the_bucket(kept: Kept) -> None:
    kept.sink.apply([write(1, {0: slot(7, x=(1, -1), y=(2, 2))})])
    kept.sink.apply([write(2, {0: slot(7, x=(-1, 1), y=(-2, 1)), 1: slot(9, x=(0,))})])
    assert kept.sink.dump(SHARD).rows == rows({0: slot(7, y=(0, 3)), 1: slot(9)})
    kept.sink.apply([write(3, {0: slot(7, y=(0, -3)), 1: slot(3, x=(1,))})])
    assert kept.sink.dump(SHARD).rows == rows({0: slot(7), 1: slot(9)})


def a_delta(slot: int, bucket: int, field: str, amounts: tuple[int, int]) -> PartialDelta:
    return PartialDelta(slot, 0 if slot == PERMANENT else bucket, field, amounts)


deltas = st.lists(
    st.builds(
        a_delta,
        st.integers(0, SLOTS - 1),
        st.integers(0, 3),
        st.sampled_from(["x", "y", "ü z"]),
        st.tuples(st.integers(-2, 2), st.sampled_from([-1, 0, 1, MAX_AMOUNT // 100])),
    ),
    max_size=30,
)


def whole(copy: MergedPartials) -> PartialTable:
    """The table of the one shard that was read; a permanent slot without sums is left out, as in ``without_empty``."""
    permanent = {slot: PartialSlot(0, sums) for slot, sums in copy.permanent.items() if sums}
    return copy.rings.get(SHARD, {}) | permanent


def without_empty(table: PartialTable) -> PartialTable:
    return {slot: one for slot, one in table.items() if one.sums or slot != PERMANENT}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_deltas=deltas, data=st.data())
def test_invariant_8_a_table_depends_on_the_set_of_its_deltas_alone(
    kept: Kept, given_deltas: list[PartialDelta], data: st.DataObject
) -> None:
    expected: PartialTable = {}
    for one in given_deltas:
        changes: PartialTable = {}
        collect(changes, [one])
        apply_changes(expected, changes)
    kept.sink.drop()
    copy, seq = MergedPartials([PERMANENT]), 0
    left = data.draw(st.permutations(given_deltas))
    while left or not seq:
        size = data.draw(st.integers(1, 8))
        changes = {}
        collect(changes, left[:size])
        left = left[size:]
        seq += 1
        assert kept.sink.apply([write(seq, changes)]) == [APPLIED]
        if data.draw(st.booleans()):
            copy.update(kept.reader, [SHARD])
    assert kept.sink.dump(SHARD).rows == rows(expected)
    copy.update(kept.reader, [SHARD])
    assert (whole(copy), copy.fences) == (without_empty(expected), {SHARD: at(seq)})


@pytest.mark.parametrize(
    "change",
    [
        {"x": (1,)},
        {"y": (0, -1)},
        {"y": (-2 * MAX_AMOUNT, 0)},
        {"z": (2 * MAX_AMOUNT,)},
        {"y": (1,)},
        {"x": (0, 1)},
    ],
    ids=str,
)
def test_invariant_16_a_sum_that_cannot_be_stored_is_rejected_with_its_whole_write(
    kept: Kept, change: dict[str, tuple[int, ...]]
) -> None:
    kept.sink.apply([write(1, {1: slot(5, x=(MAX_AMOUNT,), y=(1, -MAX_AMOUNT))})])
    before = kept.sink.dump(SHARD)
    with pytest.raises(SinkRejected):
        kept.sink.apply([write(2, {0: slot(1, new=(1,)), 1: PartialSlot(5, change)})])
    assert kept.sink.dump(SHARD) == before
    assert kept.sink.apply([write(2, {1: slot(5, x=(-MAX_AMOUNT,))})]) == [APPLIED]


def test_many_fields_are_one_step(kept: Kept) -> None:
    many = {f"cell-{number}": (number + 1, 2) for number in range(5_000)}
    kept.sink.apply([write(1, {0: PartialSlot(1, dict(many))})])
    kept.sink.apply([write(2, {0: PartialSlot(1, {name: (-a, -b) for name, (a, b) in many.items() if a > 1})})])
    assert kept.sink.dump(SHARD).rows == rows({0: PartialSlot(1, {"cell-0": (1, 2)})})


def lose_fence(kept: Kept) -> None:
    if isinstance(kept.sink, MemorySink):
        del kept.sink.held[SHARD]
    else:
        assert kept.client is not None
        with kept.client.pipeline(transaction=False) as pipeline:
            pipeline.delete(fence_key("tallied", 1, SHARD))
            pipeline.execute()


def test_a_first_write_deletes_a_table_without_a_fence(kept: Kept) -> None:
    kept.sink.apply([write(1, {0: slot(7, x=(1,)), 2: slot(7, x=(1,))})])
    lose_fence(kept)
    assert kept.reader.read([SHARD], {SHARD: at(1)}) == {SHARD: ShardPartials(None, [{}], True)}
    assert kept.sink.apply([write(1, {0: slot(6, y=(2,))})]) == [APPLIED]
    assert kept.sink.dump(SHARD).rows == rows({0: slot(6, y=(2,))})


def test_reset_deletes_the_table(kept: Kept) -> None:
    kept.sink.apply([write(1, {0: slot(7, x=(1,)), 2: slot(7, x=(1,))})])
    new = Fence("log-2", "two", 0, 0)
    assert not kept.sink.reset(SHARD, at(2), new)
    assert kept.sink.dump(SHARD).rows == rows({0: slot(7, x=(1,)), 2: slot(7, x=(1,))})
    assert kept.sink.reset(SHARD, at(1), new)
    assert kept.sink.dump(SHARD) == ShardDump(new, {}, {}, {})
    # No sum of before may come back.
    kept.sink.apply([ShardWrite(SHARD, new, new._replace(seq=1), {}, partials={0: slot(7, y=(1,))})])
    assert kept.sink.dump(SHARD).rows == rows({0: slot(7, y=(1,))})


BEGUN = Fence("log-1", "refold", 0, 0)


def refolded(kept: Kept, partials: Mapping[int, PartialSlot]) -> Fence:
    staging = kept.sink.staging()
    assert staging.reset(SHARD, None, BEGUN)
    new = at(1)._replace(incarnation=BEGUN.incarnation)
    assert staging.apply([ShardWrite(SHARD, BEGUN, new, {"a": b"new"}, partials=partials)]) == [APPLIED]
    return new


def test_a_staged_table_is_visible_only_after_its_promotion(kept: Kept) -> None:
    kept.sink.apply([write(1, {0: slot(7, x=(1,)), 1: slot(7, x=(1,))})])
    kept.sink.apply([write(2, {0: slot(7, x=(1,))})])
    copy = MergedPartials([])
    copy.update(kept.reader, [SHARD])
    new = refolded(kept, {0: slot(7, x=(5,)), 2: slot(7, y=(6,))})
    assert kept.sink.dump(SHARD).rows == rows({0: slot(7, x=(2,)), 1: slot(7, x=(1,))})
    assert kept.sink.staging().dump(SHARD).rows == rows({0: slot(7, x=(5,)), 2: slot(7, y=(6,))})
    assert kept.reader.read([SHARD], copy.fences) == {}
    assert kept.sink.promote(SHARD, at(2), new)
    promoted = {0: slot(7, x=(5,)), 2: slot(7, y=(6,))}
    assert kept.sink.dump(SHARD) == ShardDump(new, {"a": b"new"}, rows(promoted), {})
    assert kept.sink.staging().dump(SHARD) == ShardDump(None, {}, {}, {})
    # The promoted fence has a lower seq, so only the incarnation shows that every slot may differ.
    assert kept.reader.read([SHARD], copy.fences) == {SHARD: ShardPartials(new, [promoted], True)}
    copy.update(kept.reader, [SHARD])
    assert copy.rings == {SHARD: promoted}


def test_an_abandoned_refold_leaves_no_table(kept: Kept) -> None:
    kept.sink.apply([write(1, {0: slot(7, x=(1,))})])
    refolded(kept, {0: slot(7, x=(5,)), 2: slot(7, y=(6,))})
    kept.sink.abandon([SHARD])
    assert kept.sink.staging().dump(SHARD) == ShardDump(None, {}, {}, {})
    refolded(kept, {0: slot(7, z=(1,))})
    assert kept.sink.staging().dump(SHARD).rows == rows({0: slot(7, z=(1,))})


def test_drop_leaves_nothing(kept: Kept) -> None:
    kept.sink.apply([write(1, {slot_: slot(7, x=(1,)) for slot_ in range(SLOTS)})])
    refolded(kept, {2: slot(7, y=(6,))})
    # The code of another version may have had more slots.
    dropping = RedisSink(kept.client, "tallied", 1) if kept.client is not None else kept.sink
    dropping.drop()
    assert kept.sink.dump(SHARD) == ShardDump(None, {}, {}, {})
    assert kept.keys() == []


def test_a_reader_gets_the_changes_since_its_fence(kept: Kept) -> None:
    changes: list[PartialTable] = [
        {0: slot(7, x=(1,)), 1: slot(0, x=(1,))},
        {1: slot(0, y=(2,))},
        {},
        {0: slot(19), 1: slot(0, x=(-1,))},
    ]
    for seq, change in enumerate(changes, start=1):
        kept.sink.apply([write(seq, change)])
    assert kept.reader.read([SHARD], {SHARD: at(2)}) == {SHARD: ShardPartials(at(4), changes[3:], False)}
    assert kept.reader.read([SHARD], {SHARD: at(1)}) in (
        {SHARD: ShardPartials(at(4), [changes[1], changes[3]], False)},
        {SHARD: ShardPartials(at(4), changes[1:], False)},
    )
    assert kept.reader.read([SHARD], {SHARD: at(4)}) == {}
    assert kept.reader.read([], {}) == {}


def test_after_a_key_was_unparked_the_whole_table_is_read(kept: Kept) -> None:
    kept.sink.apply([write(1, {0: slot(7, x=(1,)), 1: slot(0, x=(1,))})._replace(parked={"b": PARKED})])
    unparked = at(1)._replace(incarnation="two")
    assert kept.reader.read([SHARD], {})[SHARD].parked == {PARKED.position}
    # A retry of a parked key adds its partials at a seq that the reader has already seen.
    kept.sink.apply([ShardWrite(SHARD, at(1), unparked, {"b": b"B"}, (), {"b": None}, (), {1: slot(0, x=(4,))})])
    found = {0: slot(7, x=(1,)), 1: slot(0, x=(5,))}
    assert kept.reader.read([SHARD], {SHARD: at(1)}) == {SHARD: ShardPartials(unparked, [found], True)}
    kept.sink.apply([ShardWrite(SHARD, unparked, unparked._replace(seq=2), {}, partials={1: slot(0, x=(1,))})])
    changed = ShardPartials(unparked._replace(seq=2), [{1: slot(0, x=(1,))}], False)
    assert kept.reader.read([SHARD], {SHARD: unparked}) == {SHARD: changed}


def test_a_copy_leaves_out_a_shard_that_does_not_count_any_more(kept: Kept) -> None:
    for shard in (SHARD, SHARD + 1):
        partials = {0: slot(7, x=(shard,)), PERMANENT: slot(0, x=(shard,))}
        kept.sink.apply([ShardWrite(shard, None, at(1), {}, partials=partials)])
    copy = MergedPartials([PERMANENT])
    copy.update(kept.reader, [SHARD, SHARD + 1, SHARD + 2])
    assert copy.permanent == {PERMANENT: {"x": (2 * SHARD + 1,)}}
    assert list(copy.fences) == [SHARD, SHARD + 1]
    copy.changed.clear()
    copy.update(kept.reader, [SHARD])
    assert copy.permanent == {PERMANENT: {"x": (SHARD,)}}
    assert (list(copy.fences), list(copy.rings), copy.changed) == ([SHARD], [SHARD], {PERMANENT: {"x"}})
