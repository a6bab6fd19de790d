"""The damages that a test can ask of the broker in memory; what it shares with real ones is in the contract suite."""

from __future__ import annotations

import pytest

from infrastructure.kafka.ports import PublishError
from projections.core.ports import ConsumerRecord, PortUnavailable
from tests.support.kafka.kafka_clients import out_records
from tests.support.ports_in_memory.kafka_broker import MemoryBroker
from tests.support.ports_in_memory.kafka_publisher import MemoryPublisher
from tests.support.ports_in_memory.kafka_topic import MemoryConsumer

TOPIC = "pings"


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker()
    made.create_topic(TOPIC, 2)
    return made


def _publish(broker: MemoryBroker, count: int, first: int = 0) -> None:
    MemoryPublisher(broker).publish(1, out_records(TOPIC, count, partitions=2, first=first))


def _values(records: list[ConsumerRecord]) -> list[int]:
    return sorted(int(record.value) for record in records)


def test_stores_records_whose_acknowledgement_is_delayed(broker: MemoryBroker) -> None:
    publisher, topic = MemoryPublisher(broker), MemoryConsumer(broker, TOPIC, "g")
    broker.acknowledging = False
    publisher.publish(1, out_records(TOPIC, 10, partitions=2))
    publisher.seal(1)
    assert publisher.acknowledged(0.0) == []
    assert len(topic.poll(100, 0.0)) == 10
    broker.acknowledging = True
    assert publisher.acknowledged(0.0) == [1]


def test_keeps_records_with_the_publisher_while_it_is_away(broker: MemoryBroker) -> None:
    publisher, topic = MemoryPublisher(broker), MemoryConsumer(broker, TOPIC, "g")
    broker.accepting = False
    publisher.publish(1, out_records(TOPIC, 10, partitions=2))
    publisher.seal(1)
    assert publisher.acknowledged(0.0) == []
    assert broker.records(TOPIC) == []
    assert topic.poll(100, 0.0) == []
    broker.accepting = True
    assert publisher.acknowledged(0.0) == [1]
    assert len(topic.poll(100, 0.0)) == 10


def test_refuses_the_next_record_for_good(broker: MemoryBroker) -> None:
    publisher = MemoryPublisher(broker)
    broker.fail_next("the disk is full")
    publisher.publish(1, out_records(TOPIC, 1, partitions=2))
    with pytest.raises(PublishError, match="the disk is full"):
        publisher.acknowledged(0.0)
    assert MemoryPublisher(broker).publish(1, out_records(TOPIC, 1, partitions=2)) == 1


def test_a_consumer_behind_a_truncation_goes_on_with_what_is_left(broker: MemoryBroker) -> None:
    _publish(broker, 20)
    topic = MemoryConsumer(broker, TOPIC, "g")
    assert len(topic.poll(4, 0.0)) == 4
    broker.truncate(TOPIC, 0, 8)
    before = dict(topic.assignment())
    assert _values(topic.poll(100, 0.0)) == sorted([16, 18, *range(1, 20, 2)])
    # A jump forward is a gap in seq, which the reader sees by itself.
    assert topic.assignment() == before


def test_a_consumer_starts_a_wiped_topic_anew_under_a_new_epoch_and_without_a_rebalance(broker: MemoryBroker) -> None:
    _publish(broker, 20)
    topic = MemoryConsumer(broker, TOPIC, "g")
    topic.poll(100, 0.0)
    before = dict(topic.assignment())
    broker.wipe()
    assert topic.poll(100, 0.0) == []
    with pytest.raises(PortUnavailable):
        topic.seek_to_end([0])
    broker.create_topic(TOPIC, 2)
    _publish(broker, 1, first=100)
    assert [(record.partition, record.offset) for record in topic.poll(100, 0.0)] == [(0, 0)]
    assert topic.assignment()[0] > before[0]
    assert topic.assignment()[1] == before[1]


def test_a_rebalance_gives_every_partition_a_new_epoch_and_goes_back_to_the_commit(broker: MemoryBroker) -> None:
    _publish(broker, 20)
    topic = MemoryConsumer(broker, TOPIC, "g")
    topic.poll(100, 0.0)
    topic.commit({0: 10, 1: 9})
    before = dict(topic.assignment())
    broker.rebalance(TOPIC)
    assert _values(topic.poll(100, 0.0)) == [19]
    assert all(topic.assignment()[partition] > epoch for partition, epoch in before.items())


def test_three_consumers_of_two_partitions_leave_one_without(broker: MemoryBroker) -> None:
    topics = [MemoryConsumer(broker, TOPIC, "g") for _ in range(3)]
    for topic in topics:
        topic.poll(1, 0.0)
    assert [sorted(topic.assignment()) for topic in topics] == [[0], [1], []]
    topics[0].close()
    for topic in topics[1:]:
        topic.poll(1, 0.0)
    assert [sorted(topic.assignment()) for topic in topics[1:]] == [[0], [1]]


def test_a_commit_is_lost_while_the_broker_is_away(broker: MemoryBroker) -> None:
    topic = MemoryConsumer(broker, TOPIC, "g")
    broker.accepting = False
    topic.commit({0: 5})
    assert broker.committed(TOPIC, "g") == {}
