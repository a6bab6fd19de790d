"""A batching consumer: all records that the broker has are one batch, although the client fetches them in pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from infrastructure.kafka.consumer_decorators import MAX_BATCH_DURATION_S, BatchingConsumer
from projections.core.ports import ConsumerRecord
from tests.support.ports_in_memory.projection_ports import ScriptedTopic


def records(count: int, first: int = 0) -> list[ConsumerRecord]:
    return [ConsumerRecord("pings", 0, first + n, b"key", b"value", ()) for n in range(count)]


class Pieces(ScriptedTopic):
    """A client that returns at most one fetched piece per poll."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self._left = deque[ConsumerRecord](records(sum(sizes)))
        self._sizes = deque(sizes)

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        size = self._sizes.popleft() if self._sizes else 0
        if size > max_records:
            self._sizes.appendleft(size - max_records)
        return [self._left.popleft() for _ in range(min(size, max_records))]


def test_all_available_records_are_one_batch() -> None:
    assert BatchingConsumer(Pieces([3, 4, 5])).poll(100, 0.2) == records(12)


def test_a_batch_is_never_larger_than_requested_and_the_rest_comes_next() -> None:
    consumer = BatchingConsumer(Pieces([3, 4, 5]))
    assert consumer.poll(6, 0.2) == records(6)
    assert consumer.poll(100, 0.2) == records(6, first=6)
    assert consumer.poll(100, 0.2) == []


def test_a_stream_that_never_pauses_delays_no_record() -> None:
    """A ping every 40 ms, and a batch size for hours of them."""
    now = 0.0

    class Steady(Pieces):
        def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
            nonlocal now
            now += 0.04
            return super().poll(max_records, timeout_s)

    found = BatchingConsumer(Steady([1] * 1_000), lambda: now).poll(20_000, 0.2)
    assert 1 < len(found) < 20
    assert now <= MAX_BATCH_DURATION_S + 0.1


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 20))
def test_no_record_is_lost_duplicated_or_reordered(sizes: list[int], at_most: int) -> None:
    consumer = BatchingConsumer(Pieces(sizes))
    found: list[ConsumerRecord] = []
    while batch := consumer.poll(at_most, 0.2):
        assert len(batch) <= at_most
        found += batch
    assert found == records(sum(sizes))
