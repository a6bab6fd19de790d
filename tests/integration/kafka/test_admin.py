"""Creates and checks topics, as the supervisor and the tailer do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition

from infrastructure.embedded.server import free_port
from infrastructure.kafka.admin import TopicError, admin, ensure_topics, missing_topics, partition_counts
from tests.support.time_limits import scaled_s


def test_creates_missing_topics_and_keeps_the_others(kafka_bootstrap: str, topic_prefix: str) -> None:
    names = [f"{topic_prefix}{n}" for n in range(3)]
    ensure_topics(kafka_bootstrap, names[:1], 8)
    for _ in range(2):
        ensure_topics(kafka_bootstrap, names, 8)
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, names) == dict.fromkeys(names, 8)


def test_two_processes_can_create_the_same_topics(kafka_bootstrap: str, topic_prefix: str) -> None:
    names = [f"{topic_prefix}{n}" for n in range(3)]
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(ensure_topics, kafka_bootstrap, names, 4) for _ in range(4)]
        assert [one.result() for one in made] == [None] * 4
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, names) == dict.fromkeys(names, 4)


def test_describing_a_missing_topic_does_not_create_it(kafka_bootstrap: str, topic_prefix: str) -> None:
    missing = f"{topic_prefix}missing"
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, [missing]) == {}
        assert partition_counts(client, [missing]) == {}


def test_regression_a_status_creates_no_topic(kafka_bootstrap: str, topic_prefix: str) -> None:
    """It made them with the partitions of the shell in which it ran, and those of a topic are fixed for its life."""
    there, missing = f"{topic_prefix}there", f"{topic_prefix}missing"
    ensure_topics(kafka_bootstrap, [there], 4)
    assert missing_topics(kafka_bootstrap, [there], 4) == []
    assert missing_topics(kafka_bootstrap, [there, missing], 4) == [missing]
    with pytest.raises(TopicError, match="RIDELOG_TOPIC_PARTITIONS=8"):
        missing_topics(kafka_bootstrap, [there, missing], 8)
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, [there, missing]) == {there: 4}


def test_a_record_is_as_old_as_its_append_whatever_the_time_that_it_came_with(
    apache_bootstrap: str, topic_prefix: str
) -> None:
    """Otherwise a clock could make the broker refuse a record, or delete it with those of long ago."""
    topic, sent_ms = f"{topic_prefix}pings", time.time_ns() // 1_000_000
    ensure_topics(apache_bootstrap, [topic], 1)
    producer = Producer({"bootstrap.servers": apache_bootstrap})
    for claimed_ms in (1, sent_ms + 400 * 86_400_000):
        producer.produce(topic, b"a value", timestamp=claimed_ms)
    assert producer.flush(scaled_s(30)) == 0
    consumer = Consumer({"bootstrap.servers": apache_bootstrap, "group.id": topic})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    messages = consumer.consume(2, scaled_s(30))
    consumer.close()
    assert [message.error() for message in messages] == [None, None]
    kinds, times_ms = zip(*(message.timestamp() for message in messages), strict=True)
    assert set(kinds) == {TIMESTAMP_LOG_APPEND_TIME}
    assert sent_ms <= min(times_ms) <= max(times_ms) <= time.time_ns() // 1_000_000


def test_rejects_a_topic_with_another_number_of_partitions_and_creates_no_other(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    old, new = f"{topic_prefix}old", f"{topic_prefix}new"
    ensure_topics(kafka_bootstrap, [old], 4)
    with pytest.raises(TopicError, match=f"{old}.*4.*RIDELOG_TOPIC_PARTITIONS=8.*RIDELOG_TOPIC_PREFIX"):
        ensure_topics(kafka_bootstrap, [old, new], 8)
    with admin(kafka_bootstrap) as client:
        assert partition_counts(client, [old, new]) == {old: 4}


@pytest.mark.parametrize("partitions", [0, 3, 128])
def test_rejects_a_number_of_partitions_that_does_not_divide_the_shards(partitions: int) -> None:
    with pytest.raises(TopicError, match=str(partitions)):
        ensure_topics("127.0.0.1:1", ["x"], partitions)


def test_reports_in_time_that_the_broker_is_unavailable() -> None:
    bootstrap = f"127.0.0.1:{free_port()}"
    started = time.monotonic()
    with pytest.raises(TopicError, match=f"Kafka at {bootstrap} does not answer within 1 s"):
        ensure_topics(bootstrap, ["x"], 8, timeout_s=1.0)
    assert time.monotonic() - started < scaled_s(6.0)
