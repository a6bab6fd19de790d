"""The reader of partial tables next to a writer on a real server, and on damaged tables."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import pytest
import redis

from domain.features.partials import PartialSlot
from infrastructure.redis.connection import connect
from infrastructure.redis.partial_reader import RedisPartialReader
from infrastructure.redis.projection_sink import RedisSink
from projections.core.partials import PartialCopy, ShardPartials
from projections.core.ports import Fence, ShardWrite, SinkRejected
from read_models.redis_keys import slot_key, slots_key

SHARD, SLOTS = 3, 4


def at(seq: int) -> Fence:
    return Fence("log-1", "one", seq, seq * 10)


def slot(bucket: int, **sums: tuple[int, ...]) -> PartialSlot:
    return PartialSlot(bucket, dict(sums))


def write(seq: int, partials: Mapping[int, PartialSlot]) -> ShardWrite:
    return ShardWrite(SHARD, at(seq - 1) if seq > 1 else None, at(seq), {}, partials=partials)


class _LateReader(RedisPartialReader):
    """Another worker writes between the choice of the slots and their reading."""

    def __init__(self, client: redis.Redis, then: Sequence[Callable[[], object]]) -> None:
        super().__init__(client, "tallied", 1)
        self._then = list(then)

    def _changed(self, shards: Sequence[int], known: Mapping[int, Fence]) -> dict[int, list[int]]:
        chosen = super()._changed(shards, known)
        for act in self._then:
            act()
        return chosen


def test_a_write_during_a_read_is_whole_or_absent(redis_url: str) -> None:
    client = connect(redis_url)
    sink = RedisSink(client, "tallied", 1, partial_slots=SLOTS)
    sink.apply([write(1, {0: slot(7, x=(1,)), 1: slot(7, x=(1,))})])
    sink.apply([write(2, {0: slot(7, x=(1,))})])
    reader = _LateReader(client, [lambda: sink.apply([write(3, {1: slot(19, x=(3,)), 2: slot(7, x=(1,))})])])
    changed = {0: slot(7, x=(2,)), 1: slot(19, x=(3,)), 2: slot(7, x=(1,))}
    assert reader.read([SHARD], {SHARD: at(1)}) == {SHARD: ShardPartials(at(3), changed, False)}
    client.close()


def test_a_table_and_its_fence_are_read_at_one_instant(redis_url: str) -> None:
    client, other = connect(redis_url), connect(redis_url)
    sink = RedisSink(client, "tallied", 1, partial_slots=SLOTS)
    last = 400

    def work() -> None:
        for seq in range(1, last + 1):
            sink.apply([write(seq, {seq % 2: slot(0, x=(1,)), 2: slot(0, x=(1,))})])

    worker = threading.Thread(target=work)
    worker.start()
    copy, reader, seen = PartialCopy(), RedisPartialReader(other, "tallied", 1), set()
    while SHARD not in copy.fences or copy.fences[SHARD].seq < last:
        copy.update(reader, [SHARD])
        if SHARD in copy.fences:
            seq, table = copy.fences[SHARD].seq, copy.tables[SHARD]
            sums = [table[number].sums["x"][0] if number in table else 0 for number in range(3)]
            assert sums == [seq // 2, (seq + 1) // 2, seq]
            seen.add(seq)
    worker.join()
    assert len(seen) > 1
    client.close()
    other.close()


@pytest.mark.parametrize(
    ("key", "field", "value"), [(slots_key, "0", "x"), (slots_key, "y", "1 2"), (slot_key, "x", "1 y")]
)
def test_invariant_16_a_damaged_table_is_rejected_data(
    redis_url: str, key: Callable[..., str], field: str, value: str
) -> None:
    client = connect(redis_url)
    sink = RedisSink(client, "tallied", 1, partial_slots=SLOTS)
    sink.apply([write(1, {0: slot(7, x=(1, 1))})])
    place = ("tallied", 1, SHARD) if key is slots_key else ("tallied", 1, SHARD, 0)
    client.hset(key(*place), field, value)
    for ask in (
        lambda: RedisPartialReader(client, "tallied", 1).read([SHARD], {}),
        lambda: sink.dump(SHARD),
    ):
        with pytest.raises(SinkRejected):
            ask()
    client.close()
