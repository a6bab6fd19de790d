"""The last records of a topic, by which it is seen whose they are."""

from __future__ import annotations

import uuid

from confluent_kafka import Consumer, KafkaException, TopicPartition

from infrastructure.kafka.address import kafka_address
from infrastructure.kafka.admin import TopicError
from infrastructure.kafka.port import LastRecord
from projections.records import header_number

LAST_RECORDS_TIMEOUT_S = 5.0


def last_records(bootstrap: str, topic: str, partitions: int, timeout_s: float = LAST_RECORDS_TIMEOUT_S) -> list[LastRecord]:
    """From the last offset of each partition as the broker tells it, up to its end: the embedded broker tells that of
    its last batch. Records without our headers are passed over. Raises TopicError."""
    own = {"group.id": uuid.uuid4().hex, "enable.auto.commit": False}
    consumer = Consumer({**kafka_address(bootstrap).librdkafka(), **own})
    found: list[LastRecord] = []
    try:
        starts = []
        for partition in range(partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_s)
            if high > low:
                starts.append(TopicPartition(topic, partition, high - 1))
        consumer.assign(starts)
        left = {start.partition for start in starts}
        # A topic that is written to has no end: what is its last record now is enough.
        while left and (messages := consumer.consume(1_000, timeout_s)):
            for message in messages:
                if message.error() is not None:
                    raise TopicError(f"{topic} cannot be read: {message.error()}")
                left.discard(message.partition())
                found.extend(_of(message.headers()))
    except KafkaException as error:
        raise TopicError(f"{topic} cannot be read: {error}") from error
    finally:
        consumer.close()
    return found


def _of(headers: object) -> list[LastRecord]:
    known = dict(headers) if isinstance(headers, list) else {}
    try:
        # Bounded: the database is asked for this position, and could not be asked for a larger one.
        return [LastRecord(header_number(known["position"]), known["id"].decode("ascii"))]
    except (KeyError, ValueError, AttributeError, TypeError):
        return []
