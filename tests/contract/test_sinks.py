"""The Sink port, on every adapter: in memory and on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import delete

from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.projection_sink import PostgresSink
from infrastructure.postgres.schema import projection_fences
from infrastructure.redis.connection import EvictingRedis, check_never_evicts, connect, connect_server
from infrastructure.redis.projection_sink import RedisSink
from projections.core.ports import (
    ApplyOutcome,
    Fence,
    ParkedEvent,
    PortUnavailable,
    ShardDump,
    ShardWrite,
    Sink,
    SinkRejected,
)
from projections.speed import SPEED
from read_models.redis_keys import fence_key, parked_key
from tests.support.ports_in_memory.projection_ports import MemorySink

APPLIED, FENCE_CONFLICT = ApplyOutcome.APPLIED, ApplyOutcome.FENCE_CONFLICT
START = Fence("log-1", "one", 0, 0)
PARKED = ParkedEvent(2, 20, 2, "GpsPing", "decode", "unreadable", 0)


@pytest.fixture(params=["memory", "redis", "redis cluster", "postgres"])
def sink(request: pytest.FixtureRequest) -> Iterator[Sink]:
    if request.param == "memory":
        yield MemorySink()
        return
    if request.param == "postgres":
        engine = reader_engine(request.getfixturevalue("postgres_url"))
        yield PostgresSink(engine, SPEED, 1)
        engine.dispose()
        return
    client = connect(request.getfixturevalue("redis_url" if request.param == "redis" else "redis_cluster_url"))
    yield RedisSink(client, "speed", 1)
    client.close()


def lose_fence(sink: Sink, shard: int) -> None:
    """Delete the fence, as an operator might by hand, or by restoring a part of a store."""
    if isinstance(sink, MemorySink):
        del sink.held[shard]
    elif isinstance(sink, RedisSink):
        with sink._client.pipeline(transaction=False) as pipeline:
            pipeline.delete(fence_key("speed", 1, shard))
            pipeline.execute()
    else:
        assert isinstance(sink, PostgresSink)
        with sink._engine.begin() as connection:
            connection.execute(delete(projection_fences).where(projection_fences.c.shard == shard))


def at(seq: int) -> Fence:
    return START._replace(seq=seq, position=seq * 10)


def test_a_new_sink_has_no_fences_and_no_states(sink: Sink) -> None:
    assert sink.fences([0, 63]) == [None, None]
    assert sink.load({0: ["a"], 1: []}).get(0, {}) == {}
    assert sink.fences([]) == []
    assert sink.apply([]) == []


def test_states_and_fence_move_together(sink: Sink) -> None:
    assert sink.apply([ShardWrite(3, None, at(2), {"a": b"\x00A\xff", "ü b": b"B"})]) == [APPLIED]
    assert sink.fences([2, 3]) == [None, at(2)]
    assert sink.load({3: ["a", "ü b", "c"]}) == {3: {"a": b"\x00A\xff", "ü b": b"B"}}


def test_invariant_4_only_the_expected_fence_is_replaced(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(2), {"a": b"old"})])
    for wrong in (None, at(1), at(3), at(2)._replace(log_id="log-2"), at(2)._replace(incarnation="two")):
        assert sink.apply([ShardWrite(3, wrong, at(4), {"a": b"new"})]) == [FENCE_CONFLICT]
    assert sink.load({3: ["a"]}) == {3: {"a": b"old"}}
    assert sink.fences([3]) == [at(2)]
    assert sink.apply([ShardWrite(3, at(2), at(4), {"a": b"new"})]) == [APPLIED]
    assert sink.load({3: ["a"]}) == {3: {"a": b"new"}}


def test_a_first_write_deletes_data_without_a_fence(sink: Sink) -> None:
    sink.apply(
        [ShardWrite(3, None, at(2), {"a": b"old"}, parked={"b": PARKED}), ShardWrite(4, None, at(2), {"c": b"c"})]
    )
    lose_fence(sink, 3)
    assert sink.fences([3, 4]) == [None, at(2)]
    assert sink.apply([ShardWrite(3, None, at(1), {"n": b"new"})]) == [APPLIED]
    found = sink.dump(3)
    assert (found.states, found.parked) == ({"n": b"new"}, {})
    assert sink.dump(4).states == {"c": b"c"}


def test_each_shard_of_one_call_has_its_own_outcome(sink: Sink) -> None:
    sink.apply([ShardWrite(1, None, at(1), {"a": b"1"})])
    writes = [ShardWrite(0, None, at(5), {"x": b"0"}), ShardWrite(1, None, at(5), {"a": b"2"})]
    assert sink.apply(writes) == [APPLIED, FENCE_CONFLICT]
    assert sink.load({0: ["x"], 1: ["a"]}) == {0: {"x": b"0"}, 1: {"a": b"1"}}


def test_a_write_without_states_moves_the_fence(sink: Sink) -> None:
    assert sink.apply([ShardWrite(0, None, at(5), {})]) == [APPLIED]
    assert sink.fences([0]) == [at(5)]


def test_a_large_write_is_one_step(sink: Sink) -> None:
    states = {f"rider-{number}": b"x" * 600 for number in range(5_000)}
    assert sink.apply([ShardWrite(9, None, at(5_000), states)]) == [APPLIED]
    assert sink.load({9: list(states)}) == {9: states}


def test_reset_drops_a_shard_by_the_same_compare_and_set(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(2), {"a": b"A"}), ShardWrite(4, None, at(2), {"b": b"B"})])
    new = Fence("log-2", "two", 0, 0)
    assert not sink.reset(3, at(1), new)
    assert sink.load({3: ["a"]}) == {3: {"a": b"A"}}
    assert sink.reset(3, at(2), new)
    assert sink.load({3: ["a"]}).get(3, {}) == {}
    assert sink.fences([3, 4]) == [new, at(2)]


MARK = ParkedEvent(3, 30, 2, "GpsPing", "fold", 'ValueError: "ü"', 1_790_000_000_000)


def test_a_parked_event_moves_with_the_fence(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(3), {"b": b"B"}, parked={"ü b": MARK})])
    assert sink.parked([3, 4]).get(3) == {"ü b": MARK}
    assert not sink.parked([4]).get(4)
    unparked = ShardWrite(3, at(3), at(3)._replace(incarnation="two"), {"ü b": b"A"}, parked={"ü b": None})
    assert sink.apply([unparked]) == [APPLIED]
    assert not sink.parked([3]).get(3)
    # A worker with the older fence loses its compare-and-set.
    assert sink.apply([ShardWrite(3, at(3), at(4), {})]) == [FENCE_CONFLICT]


def test_a_fence_conflict_parks_nothing(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(3), {})])
    assert sink.apply([ShardWrite(3, at(2), at(4), {}, parked={"a": MARK})]) == [FENCE_CONFLICT]
    assert not sink.parked([3]).get(3)


def test_a_dump_is_all_of_one_shard_with_its_fence(sink: Sink) -> None:
    assert sink.dump(3) == ShardDump(None, {}, {}, {})
    sink.apply([ShardWrite(3, None, at(3), {"a": b"\x00A", "ü b": b"B"}, parked={"c": MARK})])
    sink.apply([ShardWrite(4, None, at(1), {"d": b"D"})])
    assert sink.dump(3) == ShardDump(at(3), {"a": b"\x00A", "ü b": b"B"}, {}, {"c": MARK})


def test_reset_unparks_all_keys(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(3), {"a": b"A"}, parked={"c": MARK})])
    assert sink.reset(3, at(3), at(0)._replace(incarnation="two"))
    assert sink.dump(3) == ShardDump(at(0)._replace(incarnation="two"), {}, {}, {})


BEGUN = Fence("log-1", "refold", 0, 0)


def refolded(sink: Sink, shard: int, upto: Fence, states: dict[str, bytes], parked: dict[str, ParkedEvent]) -> Fence:
    """Start a refold in the staging area, and fold it up to ``upto``."""
    staging = sink.staging()
    assert staging.reset(shard, None, BEGUN)
    new = upto._replace(incarnation=BEGUN.incarnation)
    assert staging.apply([ShardWrite(shard, BEGUN, new, states, parked=dict(parked))]) == [APPLIED]
    return new


def test_the_staging_area_is_visible_only_after_its_promotion(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(2), {"a": b"old", "gone": b"G"}, parked={"p": MARK})])
    sink.apply([ShardWrite(4, None, at(7), {"d": b"D"})])
    new = refolded(sink, 3, at(1), {"a": b"new", "b": b"B"}, {"c": MARK})
    assert sink.dump(3) == ShardDump(at(2), {"a": b"old", "gone": b"G"}, {}, {"p": MARK})
    assert sink.staging().dump(3) == ShardDump(new, {"a": b"new", "b": b"B"}, {}, {"c": MARK})
    assert sink.promote(3, at(2), new)
    assert sink.dump(3) == ShardDump(new, {"a": b"new", "b": b"B"}, {}, {"c": MARK})
    assert sink.dump(4) == ShardDump(at(7), {"d": b"D"}, {}, {})
    assert sink.staging().dump(3) == ShardDump(None, {}, {}, {})
    # The next write follows the usual rule, and a worker with the old fence loses.
    assert sink.apply([ShardWrite(3, at(2), at(3), {})]) == [FENCE_CONFLICT]
    assert sink.apply([ShardWrite(3, new, at(3)._replace(incarnation="refold"), {"a": b"A3"})]) == [APPLIED]


def test_invariant_4_a_promotion_needs_both_fences_as_they_were(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(2), {"a": b"old"})])
    assert not sink.promote(3, at(2), BEGUN)
    new = refolded(sink, 3, at(1), {"a": b"new"}, {})
    for expected, staged in ((at(1), new), (at(2)._replace(event="x"), new), (at(2), BEGUN), (new, at(2))):
        assert not sink.promote(3, expected, staged)
    assert sink.dump(3) == ShardDump(at(2), {"a": b"old"}, {}, {})
    assert sink.promote(3, at(2), new)
    assert not sink.promote(3, at(2), new)
    assert sink.dump(3) == ShardDump(new, {"a": b"new"}, {}, {})


def test_an_empty_refold_is_promoted_too(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(2), {"a": b"old"}, parked={"p": MARK})])
    assert sink.staging().reset(3, None, BEGUN)
    assert sink.promote(3, at(2), BEGUN)
    assert sink.dump(3) == ShardDump(BEGUN, {}, {}, {})


def test_a_refold_that_is_abandoned_leaves_an_empty_staging_area(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(2), {"a": b"old"})])
    refolded(sink, 3, at(1), {"a": b"new"}, {"c": MARK})
    new = refolded(sink, 4, at(1), {"x": b"new"}, {})
    sink.abandon([3])
    assert sink.dump(3) == ShardDump(at(2), {"a": b"old"}, {}, {})
    assert sink.staging().dump(3) == ShardDump(None, {}, {}, {})
    assert sink.staging().fences([3, 4]) == [None, new]


def test_drop_empties_the_staging_areas(sink: Sink) -> None:
    sink.apply([ShardWrite(3, None, at(2), {"a": b"old"})])
    refolded(sink, 3, at(1), {"a": b"new"}, {"c": MARK})
    sink.drop()
    assert sink.dump(3) == ShardDump(None, {}, {}, {})
    assert sink.staging().dump(3) == ShardDump(None, {}, {}, {})


@pytest.mark.parametrize(
    "bytes_",
    [
        b"",
        b"garbled",
        b"a b c d",
        b"l i 1",
        b"l i 01 2",
        b"l i 1 2 e f",
        b"l i " + b"9" * 1_000 + b" 1",
        b"\xff\x00 \xfe",
    ],
    ids=lambda b: repr(b[:12]),
)
def test_regression_a_garbled_fence_in_redis_matches_no_log_and_can_be_replaced(redis_url: str, bytes_: bytes) -> None:
    client = connect_server(redis_url)
    sink = RedisSink(client, "speed", 1)
    client.set(fence_key("speed", 1, 3), bytes_)
    [fence] = sink.fences([3])
    assert fence is not None
    assert fence.seq == fence.position == 0
    assert sink.staging().reset(3, None, BEGUN)
    assert sink.promote(3, fence, BEGUN)
    assert sink.fences([3]) == [BEGUN]
    client.close()


def test_drop_leaves_nothing(sink: Sink) -> None:
    sink.apply([ShardWrite(s, None, at(3), {"a": b"A"}, parked={"c": MARK}) for s in (0, 63)])
    sink.drop()
    assert sink.fences([0, 63]) == [None, None]
    assert sink.dump(63) == ShardDump(None, {}, {}, {})


def test_generations_do_not_see_each_other(redis_url: str) -> None:
    client = connect_server(redis_url)
    one, two = RedisSink(client, "speed", 1), RedisSink(client, "speed", 2)
    one.apply([ShardWrite(0, None, at(1), {"a": b"1"})])
    assert two.fences([0]) == [None]
    assert two.load({0: ["a"]})[0] == {}
    client.close()


def test_an_unavailable_server_is_a_port_error() -> None:
    client = connect_server("redis://127.0.0.1:1/0")
    with pytest.raises(PortUnavailable):
        RedisSink(client, "speed", 1).fences([0])


def test_regression_a_key_of_another_type_and_a_damaged_parked_event_are_rejected_data(redis_url: str) -> None:
    client = connect_server(redis_url)
    sink = RedisSink(client, "speed", 1)
    client.lpush(fence_key("speed", 1, 3), "x")
    client.hset(parked_key("speed", 1, 4), "anna", "{")
    for ask in (
        lambda: sink.fences([3]),
        lambda: sink.apply([ShardWrite(3, None, at(1), {"a": b"A"})]),
        lambda: sink.parked([4]),
    ):
        with pytest.raises(SinkRejected):
            ask()
    client.close()


def test_invariant_13_a_server_that_may_evict_is_rejected(redis_url: str) -> None:
    client = connect_server(redis_url)
    check_never_evicts(client)
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(EvictingRedis, match="noeviction"):
            check_never_evicts(client)
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()
