"""Counting the records that the embedded broker holds."""

from __future__ import annotations

from contextlib import closing

from kafka import KafkaProducer

from infrastructure.supervision.broker_memory_limit import count_records


def test_records_of_topics_with_the_prefix_are_counted(kafka_bootstrap: str, topic_prefix: str) -> None:
    assert count_records(kafka_bootstrap, topic_prefix) == 0
    with closing(KafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all")) as producer:
        for topic in (f"{topic_prefix}one", f"{topic_prefix}two", f"other.{topic_prefix}"):
            for _ in range(5):
                # One by one: for a batch of many records the embedded broker counts only one.
                producer.send(topic, b"x").get(10)
    assert count_records(kafka_bootstrap, topic_prefix) == 10
