"""The topic as another team's consumer sees it: keys, headers, partitions, and Avro read through our registry."""

from __future__ import annotations

import uuid

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from kafka.partitioner import murmur2

from tests.e2e.test_speed import now_ms, track
from tests.support.kafka.consumer_probe import arrived
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog


def records_of(ridelog: Ridelog, rider: str, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": ridelog.info.kafka_bootstrap, "group.id": uuid.uuid4().hex})
    consumer.assign([TopicPartition("gps-pings", partition, OFFSET_BEGINNING) for partition in range(8)])
    found: list[Message] = []

    def enough() -> bool:
        found.extend(m for m in arrived(consumer, 0.5) if m.error() is None and m.key() == rider.encode())
        return len(found) >= count

    try:
        eventually(enough, within_s=30, what=f"{count} records of {rider}")
    finally:
        consumer.close()
    return found


def test_records_match_the_contract(ridelog: Ridelog, rider: str) -> None:
    pings = track(rider, now_ms())
    position = ridelog.post(pings)["position"]
    records = records_of(ridelog, rider, 11)
    headers = [dict(record.headers() or ()) for record in records]
    assert all(list(h) == ["id", "eventType", "version", "position", "seq"] for h in headers)
    assert [h["eventType"] for h in headers] == [b"RiderRegistered"] + [b"GpsPing"] * 10
    assert [h["version"] for h in headers] == [str(version).encode() for version in range(1, 12)]
    assert headers[-1]["position"] == str(position).encode()
    seqs = [int(h["seq"] or b"") for h in headers]
    assert seqs == list(range(seqs[0], seqs[0] + 11))
    expected = (murmur2(rider.encode()) & 0x7FFFFFFF) % 8
    assert {record.partition() for record in records} == {expected}


def test_confluents_own_deserializer_reads_the_topic_through_our_registry(ridelog: Ridelog, rider: str) -> None:
    pings = track(rider, now_ms())
    ridelog.post(pings)
    registry = SchemaRegistryClient({"url": ridelog.info.registry_url})
    read = AvroDeserializer(registry)
    context = SerializationContext("gps-pings", MessageField.VALUE)
    values = [read(record.value(), context) for record in records_of(ridelog, rider, 11)[1:]]
    assert [value["event_timestamp_ms"] for value in values] == [p["event_timestamp_ms"] for p in pings]
    assert [value["latitude"] for value in values] == [p["latitude"] for p in pings]
    assert {value["rider_id"] for value in values} == {rider}
    assert {value["schema_version"] for value in values} == {3}
    assert all(value["received_timestamp_ms"] > 0 for value in values)
    assert {value["source_service"] for value in values} == {"unknown"}
