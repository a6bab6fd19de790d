"""Counting the records that the embedded broker holds, and the transactions of the log."""

from __future__ import annotations

from contextlib import closing
from uuid import UUID

from kafka import KafkaProducer
from sqlalchemy import Engine

from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.supervision.broker_memory_limit import BrokerContents, count_records, count_transactions


def test_records_of_topics_with_the_prefix_are_counted(kafka_bootstrap: str, topic_prefix: str) -> None:
    assert count_records(kafka_bootstrap, topic_prefix) == BrokerContents(0, 0)
    with closing(KafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all")) as producer:
        for topic in (f"{topic_prefix}one", f"{topic_prefix}two", f"other.{topic_prefix}"):
            for _ in range(5):
                # One by one: for a batch of many records the embedded broker counts only one.
                producer.send(topic, b"x", partition=0).get(10)
    assert count_records(kafka_bootstrap, topic_prefix) == BrokerContents(10, 5)


def test_transactions_of_the_log_are_counted_and_not_its_events(engine: Engine) -> None:
    before = count_transactions(engine)
    recorder = EventRecorder(engine)
    anna = aggregate_id("Rider", "anna")
    for first in (1, 3, 5):
        recorder.insert_events(
            [LogEvent(anna, one, "GpsPing", b"", "Rider", "anna", UUID(int=one), 1) for one in (first, first + 1)]
        )
    assert count_transactions(engine) == before + 3
