"""A consumer of ``rider-locations`` that uses only the topic and the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from domain.events.contracts import current, split_frame
from tests.support.kafka.consumer_probe import arrived
from tests.support.waiting import eventually

NO_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART)
SCHEMA = fastavro.parse_schema(current("RiderLocation").schema)


def location(value: bytes) -> dict[str, Any]:
    """The record of one framed value."""
    data = fastavro.schemaless_reader(BytesIO(split_frame(value)[1]), SCHEMA, None)
    assert isinstance(data, dict)
    return data


def highest(records: Iterable[tuple[bytes, bytes]]) -> dict[str, dict[str, Any]]:
    """What a reader of (key, value) knows at the end: for each rider the record with the highest position, and of two
    with the same position the later one. An empty value removes the rider."""
    kept: dict[str, dict[str, Any]] = {}
    for key, value in records:
        rider = key.decode()
        if not value:
            kept.pop(rider, None)
            continue
        data = location(value)
        assert data["rider_id"] == rider
        if rider not in kept or data["position"] >= kept[rider]["position"]:
            kept[rider] = data
    return kept


def compacted(records: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The last record of each key, as after compaction."""
    last: dict[bytes, bytes] = {}
    for key, value in records:
        last.pop(key, None)
        last[key] = value
    return list(last.items())


def read_locations(bootstrap: str, topic: str) -> dict[str, dict[str, Any]]:
    """Rider -> values with the highest position, from all records that are on the topic now."""
    return highest(read_records(bootstrap, topic))


def end_of(consumer: Consumer, partition: TopicPartition) -> int:
    """The offset after the last record. Waits for a leader, which a partition lacks just after a wipe of the broker."""

    def known() -> list[int]:
        try:
            return [consumer.get_watermark_offsets(partition, 10)[1]]
        except KafkaException as failed:
            if failed.args[0].code() not in NO_LEADER:
                raise
            return []

    return eventually(known, what=f"{partition.topic} {partition.partition} has a leader")[0]


def read_records(bootstrap: str, topic: str) -> list[tuple[bytes, bytes]]:
    """Key and value of every record from the beginning to the current end; a tombstone has an empty value."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "allow.auto.create.topics": False}
    )
    try:
        described = consumer.list_topics(topic, 10).topics[topic]
        ends = {p: end_of(consumer, TopicPartition(topic, p)) for p in described.partitions}
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
        left = {partition: end for partition, end in ends.items() if end}
        records: list[tuple[bytes, bytes]] = []
        # The embedded broker counts the last batch of a partition as one record, so one more empty poll marks the end.
        while messages := arrived(consumer, 20.0 if left else 0.3):
            for message in messages:
                error = message.error()
                assert error is None, error
                records.append((message.key() or b"", message.value() or b""))
                if (message.offset() or 0) + 1 >= left.get(message.partition() or 0, 0):
                    left.pop(message.partition() or 0, None)
        assert not left, f"not read to the end: {left}"
        return records
    finally:
        consumer.close()
