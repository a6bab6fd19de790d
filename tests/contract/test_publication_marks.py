"""The PublishedCheckpointStore port, on every adapter: what a compacted topic shows of each shard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infrastructure.redis.connection import connect, connect_server
from infrastructure.redis.projection_sink import RedisSink
from infrastructure.sinks.published_checkpoints import (
    CheckpointMove,
    PublishedCheckpoint,
    PublishedCheckpointStore,
    RedisPublishedCheckpoints,
    checkpoint_key,
)
from projections.core.ports import Fence, PortUnavailable
from tests.support.ports_in_memory.published_topic import MemoryMarks

ONE = PublishedCheckpoint(1, Fence("log", "one", 5, 50), "01a20821-edd6-7661-8432-308925e7977b")
TWO = ONE._replace(fence=ONE.fence._replace(seq=6, position=60))


@pytest.fixture(params=["memory", "redis", "redis cluster"])
def marks(request: pytest.FixtureRequest) -> Iterator[PublishedCheckpointStore]:
    if request.param == "memory":
        yield MemoryMarks()
        return
    client = connect(request.getfixturevalue("redis_url" if request.param == "redis" else "redis_cluster_url"))
    yield RedisPublishedCheckpoints(client, "locations")
    client.close()


def test_there_are_none_at_first(marks: PublishedCheckpointStore) -> None:
    assert marks.read([0, 63]) == {}
    assert marks.read([]) == {}
    assert marks.move({}) == {}
    marks.forget([])
    marks.forget([0])


def test_a_checkpoint_moves_if_it_is_as_expected(marks: PublishedCheckpointStore) -> None:
    assert marks.move({3: CheckpointMove(None, ONE), 63: CheckpointMove(None, TWO)}) == {3: True, 63: True}
    assert marks.read([2, 3, 63]) == {3: ONE, 63: TWO}
    assert marks.move({3: CheckpointMove(ONE, TWO)}) == {3: True}
    assert marks.read([3]) == {3: TWO}


@pytest.mark.parametrize(
    "expected", [None, TWO, ONE._replace(generation=2), ONE._replace(topic="another")], ids=lambda mark: str(mark)[:40]
)
def test_and_not_otherwise(marks: PublishedCheckpointStore, expected: PublishedCheckpoint | None) -> None:
    marks.move({3: CheckpointMove(None, ONE)})
    assert marks.move({3: CheckpointMove(expected, TWO), 4: CheckpointMove(None, TWO)}) == {3: False, 4: True}
    assert marks.read([3, 4]) == {3: ONE, 4: TWO}


def test_a_move_from_a_deleted_checkpoint_fails(marks: PublishedCheckpointStore) -> None:
    marks.move({3: CheckpointMove(None, ONE), 4: CheckpointMove(None, ONE)})
    marks.forget([3])
    assert marks.move({3: CheckpointMove(ONE, TWO)}) == {3: False}
    assert marks.read([3, 4]) == {4: ONE}


def test_a_dropped_generation_leaves_the_checkpoint_to_the_next_one(redis_url: str) -> None:
    client = connect_server(redis_url)
    marks = RedisPublishedCheckpoints(client, "locations")
    marks.move({3: CheckpointMove(None, ONE)})
    RedisSink(client, "locations", 1).drop()
    assert marks.read([3]) == {3: ONE}
    client.close()


def test_an_unavailable_server_is_a_port_error() -> None:
    marks = RedisPublishedCheckpoints(connect_server("redis://127.0.0.1:1/0"), "locations")
    for call in (
        lambda: marks.read([0]),
        lambda: marks.move({0: CheckpointMove(None, ONE)}),
        lambda: marks.forget([0]),
    ):
        with pytest.raises(PortUnavailable):
            call()


@pytest.mark.parametrize(
    "garbled", [b"", b"garbled", b"1 l i x 5/e topic", b"1 l i " + b"9" * 10_000 + b" 5 t", b"\xff"]
)
def test_regression_a_garbled_checkpoint_counts_as_none_and_is_replaced(redis_url: str, garbled: bytes) -> None:
    client = connect_server(redis_url)
    marks = RedisPublishedCheckpoints(client, "locations")
    client.set(checkpoint_key("locations", 3), garbled)
    assert marks.read([3]) == {}
    marks.forget([3])
    assert marks.move({3: CheckpointMove(None, ONE)}) == {3: True}
    client.close()
