"""Consuming through librdkafka."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from projections.ports import PortUnavailable, Record

log = logging.getLogger("ridelog.kafka")

SETTINGS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    # What lies before is read from the event store; a topic that was wiped or truncated starts at its end too.
    "auto.offset.reset": "latest",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    "max.poll.interval.ms": 300_000,
    "allow.auto.create.topics": False,
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 10,
}

# The topic is not there (yet), or the broker came back without it: wait, and fill from the event store meanwhile.
_PASSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._PARTITION_EOF,
    }
)


class ConfluentTopic:
    """``projections.ports.Topic`` on confluent-kafka. Raises PortUnavailable."""

    def __init__(self, bootstrap: str, topic: str, group: str, overrides: Mapping[str, Any] | None = None) -> None:
        self._topic = topic
        self._epochs: dict[int, int] = {}
        self._epoch = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                **SETTINGS,
                "error_cb": self._on_error,
                **(overrides or {}),
            }
        )
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        try:
            messages = self._consumer.consume(max_records, timeout_s)
        except KafkaException as error:
            raise PortUnavailable(f"Kafka: {error}") from error
        records: list[Record] = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._judge(error, message.partition())
                continue
            records.append(
                Record(
                    self._topic,
                    message.partition(),
                    message.offset(),
                    message.key() or b"",
                    message.value() or b"",
                    message.headers() or (),
                )
            )
        return records

    def assignment(self) -> Mapping[int, int]:
        return self._epochs

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            try:
                _, end = self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic, partition), timeout=5.0, cached=False
                )
            except KafkaException as error:
                raise PortUnavailable(f"Kafka: end of {self._topic}[{partition}]: {error}") from error
            self.seek(partition, end)

    def seek(self, partition: int, offset: int) -> None:
        try:
            self._consumer.seek(TopicPartition(self._topic, partition, offset))
        except KafkaException as error:
            raise PortUnavailable(f"Kafka: seek in {self._topic}[{partition}]: {error}") from error

    def commit(self, offsets: Mapping[int, int]) -> None:
        try:
            self._consumer.commit(
                offsets=[TopicPartition(self._topic, p, offset) for p, offset in offsets.items()], asynchronous=True
            )
        except KafkaException as error:
            # A hint was not written; the fences know better.
            log.warning("offsets not committed: %s", error)

    def close(self) -> None:
        self._consumer.close()

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._epoch += 1
        self._epochs = {**self._epochs, **dict.fromkeys((p.partition for p in partitions), self._epoch)}
        log.info("partitions assigned", extra={"topic": self._topic, "partitions": sorted(self._epochs)})

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {p.partition for p in partitions}
        self._epochs = {p: epoch for p, epoch in self._epochs.items() if p not in gone}

    def _judge(self, error: KafkaError, partition: int) -> None:
        if error.code() not in _PASSING and not error.retriable():
            raise PortUnavailable(f"Kafka: {self._topic}[{partition}]: {error}")
        log.warning("Kafka: %s", error, extra={"topic": self._topic, "partition": partition})
        if partition in self._epochs:
            # Records may have been passed over: a new epoch makes the runner look into the event store.
            self._epoch += 1
            self._epochs = {**self._epochs, partition: self._epoch}

    def _on_error(self, error: KafkaError) -> None:
        log.warning("Kafka: %s", error, extra={"topic": self._topic})
