"""The state of a key as GET reads it, between the writes of a projection's worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from domain.identifiers import shard_of
from infrastructure.redis.connection import connect_async, connect_server
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.redis.state_reader import FoundState, MissingState, ReadModelUnavailable, StateReader
from projections.core.ports import ApplyOutcome, Fence, ShardWrite
from read_models.redis_keys import REFOLDING_FIELD, state_key

KEY = "anna"
SHARD = shard_of(KEY)
GENERATION = 1
LOG = "00000000-0000-0000-0000-000000000001"
T = TypeVar("T")


@pytest.fixture
def sink(redis_url: str) -> Iterator[RedisSink]:
    client = connect_server(redis_url)
    sink = RedisSink(client, "speed", GENERATION)
    sink.drop()
    yield sink
    sink.drop()
    client.close()


def folded(sink: RedisSink, seq: int, states: dict[str, bytes]) -> None:
    """Write what a worker folded up to ``seq``."""
    expected = sink.fences([SHARD])[0]
    write = ShardWrite(SHARD, expected, Fence(LOG, "worker", seq, seq * 10), states)
    assert sink.apply([write]) == [ApplyOutcome.APPLIED]


def read(redis_url: str, reads: Callable[[StateReader], Awaitable[T]]) -> T:
    async def in_a_loop() -> T:
        client = connect_async(redis_url)
        try:
            return await reads(StateReader(client, "speed", lambda: GENERATION))
        finally:
            await client.aclose()

    return asyncio.run(in_a_loop())


def test_regression_a_state_that_is_written_between_the_two_reads_is_found(sink: RedisSink, redis_url: str) -> None:
    """GET answered 500: the second read returned bytes where a pair was expected."""

    async def reads(reader: StateReader) -> FoundState | MissingState | None:
        assert await reader.get(KEY) is None
        folded(sink, 1, {KEY: b"state"})
        return await reader.get_with_fence(KEY)

    assert read(redis_url, reads) == FoundState(b"state", GENERATION, False)


def test_a_key_without_events_has_the_position_of_its_shard(sink: RedisSink, redis_url: str) -> None:
    folded(sink, 3, {"another": b"state"})

    async def reads(reader: StateReader) -> FoundState | MissingState | None:
        assert await reader.get(KEY) is None
        return await reader.get_with_fence(KEY)

    assert read(redis_url, reads) == MissingState(GENERATION, 30)


def test_nothing_is_known_of_a_shard_in_which_nothing_is_folded(sink: RedisSink, redis_url: str) -> None:
    async def reads(reader: StateReader) -> FoundState | MissingState | None:
        assert await reader.get(KEY) is None
        return await reader.get_with_fence(KEY)

    assert read(redis_url, reads) is None


def test_a_refold_that_begins_between_the_two_reads_makes_a_missing_key_unavailable(
    sink: RedisSink, redis_url: str
) -> None:
    """404 could be wrong: the log may have the key."""
    folded(sink, 3, {"another": b"state"})

    async def reads(reader: StateReader) -> FoundState | MissingState | None:
        assert await reader.get(KEY) is None
        client = connect_server(redis_url)
        client.hset(state_key("speed", GENERATION, SHARD), REFOLDING_FIELD, b"1")
        client.close()
        return await reader.get_with_fence(KEY)

    with pytest.raises(ReadModelUnavailable):
        read(redis_url, reads)
