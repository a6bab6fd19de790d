"""The reader of partial tables next to a writer on a real server, and on damaged tables."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
import redis

from domain.features.partials import MAX_AMOUNT, PartialSlot
from infrastructure.redis.connection import connect_server
from infrastructure.redis.partial_reader import RedisPartialReader
from infrastructure.redis.projection_sink import RedisSink
from projections.core.partials import MergedPartials, ShardPartials
from projections.core.ports import ApplyOutcome, Fence, ShardWrite, SinkRejected
from read_models.redis_keys import changes_key, slot_key, slots_key

SHARD, SLOTS = 3, 4
MAX_CHANGES = 1_000
MAX_BYTES = 1_048_576
"""The changes that ``apply.lua`` keeps, and their bytes."""


def at(seq: int) -> Fence:
    return Fence("log-1", "one", seq, seq * 10)


def slot(bucket: int, **sums: tuple[int, ...]) -> PartialSlot:
    return PartialSlot(bucket, dict(sums))


def write(seq: int, partials: Mapping[int, PartialSlot]) -> ShardWrite:
    return ShardWrite(SHARD, at(seq - 1) if seq > 1 else None, at(seq), {}, partials=partials)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect_server(redis_url)
    yield client
    client.close()


def test_a_reader_that_is_too_far_behind_reads_the_whole_table(client: redis.Redis) -> None:
    sink, reader = RedisSink(client, "tallied", 1, partial_slots=SLOTS), RedisPartialReader(client, "tallied", 1, SLOTS)
    for seq in range(1, MAX_CHANGES + 12):
        sink.apply([write(seq, {0: slot(0, x=(1,))})])
    last = MAX_CHANGES + 11
    assert client.llen(changes_key("tallied", 1, SHARD)) == MAX_CHANGES
    whole = ShardPartials(at(last), [{0: slot(0, x=(last,))}], True)
    assert reader.read([SHARD], {SHARD: at(10)}) == {SHARD: whole}
    found = reader.read([SHARD], {SHARD: at(11)})[SHARD]
    assert (found.whole, len(found.changes)) == (False, MAX_CHANGES)


def test_a_change_that_is_too_long_is_not_stored(client: redis.Redis) -> None:
    sink, reader = RedisSink(client, "tallied", 1, partial_slots=SLOTS), RedisPartialReader(client, "tallied", 1, SLOTS)
    sink.apply([write(1, {0: slot(0, x=(1,))})])
    sink.apply([write(2, {0: slot(0, x=(1,))})])
    sink.apply([write(3, {0: PartialSlot(0, {f"field-{number}": (1,) for number in range(6_000)})})])
    assert client.llen(changes_key("tallied", 1, SHARD)) == 0
    sink.apply([write(4, {0: slot(0, x=(1,))})])
    assert reader.read([SHARD], {SHARD: at(2)})[SHARD].whole
    assert reader.read([SHARD], {SHARD: at(3)}) == {SHARD: ShardPartials(at(4), [{0: slot(0, x=(1,))}], False)}


def test_stored_changes_are_bounded_in_bytes(client: redis.Redis) -> None:
    sink, reader = RedisSink(client, "tallied", 1, partial_slots=SLOTS), RedisPartialReader(client, "tallied", 1, SLOTS)
    many = {f"cell-{number}": (1,) for number in range(3_000)}
    last = 60
    for seq in range(1, last + 1):
        sink.apply([write(seq, {0: PartialSlot(0, dict(many))})])
    kept = client.lrange(changes_key("tallied", 1, SHARD), 0, -1)
    assert MAX_BYTES - len(kept[0]) < sum(map(len, kept)) <= MAX_BYTES
    complete_from = last - len(kept)
    assert not reader.read([SHARD], {SHARD: at(complete_from)})[SHARD].whole
    assert reader.read([SHARD], {SHARD: at(complete_from - 1)})[SHARD].whole


def test_a_reader_adds_no_event_twice_after_the_server_was_restored(client: redis.Redis) -> None:
    sink, reader = RedisSink(client, "tallied", 1, partial_slots=SLOTS), RedisPartialReader(client, "tallied", 1, SLOTS)
    for seq in (1, 2):
        sink.apply([write(seq, {0: slot(0, x=(1,))})])
    backup = {key: client.dump(key) or b"" for key in client.scan_iter()}
    for seq in (3, 4):
        sink.apply([write(seq, {0: slot(0, x=(1,))})])
    copy = MergedPartials([0])
    copy.update(reader, [SHARD])
    for key, content in backup.items():
        client.restore(key, 0, content, replace=True)
    # The same events, in one batch that begins before what the reader has.
    sink.apply([ShardWrite(SHARD, at(2), at(6), {}, partials={0: slot(0, x=(4,))})])
    copy.update(reader, [SHARD])
    assert (copy.permanent, copy.fences) == ({0: {"x": (6,)}}, {SHARD: at(6)})


def test_an_amount_that_a_double_does_not_hold_is_rejected_whatever_the_sum(client: redis.Redis) -> None:
    sink = RedisSink(client, "tallied", 1, partial_slots=SLOTS)
    sink.apply([write(1, {0: slot(0, x=(-4,))})])
    before = sink.dump(SHARD)
    with pytest.raises(SinkRejected):
        sink.apply([write(2, {0: slot(0, x=(MAX_AMOUNT + 2,))})])
    assert sink.dump(SHARD) == before
    assert sink.apply([write(2, {0: slot(0, x=(MAX_AMOUNT,))})]) == [ApplyOutcome.APPLIED]
    assert sink.dump(SHARD).rows["partials 0 x"] == f"0 {MAX_AMOUNT - 4}".encode()


def test_changes_of_an_earlier_version_are_replaced(client: redis.Redis) -> None:
    sink, reader = RedisSink(client, "tallied", 1, partial_slots=SLOTS), RedisPartialReader(client, "tallied", 1, SLOTS)
    for seq in (1, 2):
        sink.apply([write(seq, {0: slot(0, x=(1,))})])
    client.hset(slots_key("tallied", 1, SHARD), "", "1")
    client.lset(changes_key("tallied", 1, SHARD), 0, "2\n6\n0\n0\n1\nx\n1")
    assert reader.read([SHARD], {SHARD: at(1)})[SHARD].whole
    sink.apply([write(3, {0: slot(0, x=(1,))})])
    assert client.llen(changes_key("tallied", 1, SHARD)) == 0
    assert reader.read([SHARD], {SHARD: at(2)})[SHARD].changes == [{0: slot(0, x=(3,))}]


def test_a_table_and_its_fence_are_read_at_one_instant(redis_url: str) -> None:
    client, other = connect_server(redis_url), connect_server(redis_url)
    sink = RedisSink(client, "tallied", 1, partial_slots=SLOTS)
    last = 400

    def work() -> None:
        for seq in range(1, last + 1):
            sink.apply([write(seq, {seq % 2: slot(0, x=(1,)), 2: slot(0, x=(1,))})])

    worker = threading.Thread(target=work)
    worker.start()
    copy, reader, seen = MergedPartials([2]), RedisPartialReader(other, "tallied", 1, SLOTS), set()
    while SHARD not in copy.fences or copy.fences[SHARD].seq < last:
        copy.update(reader, [SHARD])
        if SHARD in copy.fences:
            seq, table = copy.fences[SHARD].seq, copy.rings[SHARD]
            sums = [table[number].sums["x"][0] if number in table else 0 for number in range(2)]
            assert [*sums, *copy.permanent[2]["x"]] == [seq // 2, (seq + 1) // 2, seq]
            seen.add(seq)
    worker.join()
    assert len(seen) > 1
    client.close()
    other.close()


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        (slots_key, "0", "x"),
        (slots_key, "y", "1"),
        (slots_key, "9", "1"),
        (slots_key, "-4", "7"),
        (slot_key, "x", "1 y"),
    ],
)
def test_invariant_16_a_damaged_table_is_rejected_data(
    client: redis.Redis, key: Callable[..., str], field: str, value: str
) -> None:
    sink = RedisSink(client, "tallied", 1, partial_slots=SLOTS)
    sink.apply([write(1, {0: slot(7, x=(1, 1))})])
    place = ("tallied", 1, SHARD) if key is slots_key else ("tallied", 1, SHARD, 0)
    client.hset(key(*place), field, value)
    for ask in (
        lambda: RedisPartialReader(client, "tallied", 1, SLOTS).read([SHARD], {}),
        lambda: sink.dump(SHARD),
    ):
        with pytest.raises(SinkRejected):
            ask()


@pytest.mark.parametrize(
    "change",
    [
        b"2 1\n6\n0\nx\n1\nx\n1",
        b"2 1\n6\n0\n7\n3\nx\n1",
        b"2 1\n6\n0\n7\n1\nx\ny",
        b"2 1\n6\n0\n7\n-2",
        b"2 1\n6\n0\n7\n0\n\nx",
        b"2 1\n\xff",
    ],
)
def test_invariant_16_a_damaged_change_is_rejected_data(client: redis.Redis, change: bytes) -> None:
    sink = RedisSink(client, "tallied", 1, partial_slots=SLOTS)
    for seq in (1, 2):
        sink.apply([write(seq, {0: slot(7, x=(1,))})])
    client.rpop(changes_key("tallied", 1, SHARD))
    client.rpush(changes_key("tallied", 1, SHARD), change)
    with pytest.raises(SinkRejected):
        RedisPartialReader(client, "tallied", 1, SLOTS).read([SHARD], {SHARD: at(1)})
