"""The consumer that Flink fills: assignment by the first batch, the noted end, and topics that were recreated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infrastructure.flink.pushed_records import END_CHECK_INTERVAL_S, PushedConsumer
from projections.core.ports import ConsumerRecord


class Topic:
    """Ends that a test sets, and a clock that it moves."""

    def __init__(self, **ends: int) -> None:
        self.ends = {int(name[1:]): end for name, end in ends.items()}
        self.asked: list[int] = []
        self.now_s = 0.0

    def consumer(self) -> PushedConsumer:
        return PushedConsumer(self._ends, lambda: self.now_s)

    def _ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        self.asked += partitions
        return {partition: self.ends[partition] for partition in partitions}


def records(partition: int, *offsets: int) -> list[ConsumerRecord]:
    return [ConsumerRecord("gps-pings", partition, offset, b"", b"", ()) for offset in offsets]


def offsets(consumer: PushedConsumer) -> list[int]:
    return [record.offset for record in consumer.poll(1, 0)]


def test_a_partition_is_assigned_by_its_first_batch_also_an_empty_one() -> None:
    consumer = Topic().consumer()
    consumer.push(3, [])
    consumer.push(5, records(5, 0))
    assert sorted(consumer.assignment()) == [3, 5]


def test_records_are_polled_once_and_all_together() -> None:
    consumer = Topic().consumer()
    consumer.push(0, records(0, 0, 1))
    consumer.push(1, records(1, 7))
    assert offsets(consumer) == [0, 1, 7]
    assert offsets(consumer) == []


def test_records_before_the_noted_end_are_dropped() -> None:
    consumer = Topic(p0=3).consumer()
    consumer.push(0, [])
    consumer.seek_to_end([0])
    consumer.push(0, records(0, 1, 2, 3, 4))
    assert offsets(consumer) == [3, 4]


def test_an_offset_that_falls_back_gives_the_partition_a_new_epoch() -> None:
    consumer = Topic().consumer()
    consumer.push(0, records(0, 8, 9))
    before = dict(consumer.assignment())
    consumer.push(0, records(0, 0))
    assert consumer.assignment()[0] != before[0]


def test_a_topic_that_was_recreated_before_its_first_batch_is_found_by_its_end() -> None:
    topic = Topic(p0=1_000)
    consumer = topic.consumer()
    consumer.push(0, [])
    consumer.seek_to_end([0])
    before = dict(consumer.assignment())
    topic.ends[0] = 5
    consumer.push(0, records(0, 0, 1))
    assert (consumer.assignment(), topic.asked) == (before, [0])
    topic.now_s = END_CHECK_INTERVAL_S
    consumer.push(0, records(0, 2))
    assert consumer.assignment()[0] != before[0]


def test_old_records_of_the_same_topic_ask_for_its_end_once_an_interval() -> None:
    topic = Topic(p0=1_000)
    consumer = topic.consumer()
    consumer.push(0, [])
    consumer.seek_to_end([0])
    topic.now_s = END_CHECK_INTERVAL_S
    before = dict(consumer.assignment())
    for offset in range(10):
        consumer.push(0, records(0, offset))
    assert (consumer.assignment(), topic.asked) == (before, [0, 0])


def test_what_was_pushed_before_a_failure_is_discarded() -> None:
    consumer = Topic().consumer()
    consumer.push(0, records(0, 0))
    consumer.close()
    assert offsets(consumer) == []
