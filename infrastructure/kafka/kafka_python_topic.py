"""Consuming through kafka-python."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from projections.ports import PortUnavailable, Record

log = logging.getLogger("ridelog.kafka")


class KafkaPythonTopic(ConsumerRebalanceListener):  # type: ignore[misc]
    """``projections.ports.Topic`` on kafka-python. Raises PortUnavailable."""

    def __init__(self, bootstrap: str, topic: str, group: str, overrides: Mapping[str, Any] | None = None) -> None:
        self._topic = topic
        self._epochs: dict[int, int] = {}
        self._epoch = 0
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=bootstrap.split(","),
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="latest",
                session_timeout_ms=10_000,
                heartbeat_interval_ms=1_000,
                fetch_max_wait_ms=100,
                **(overrides or {}),
            )
        except KafkaError as error:
            raise PortUnavailable(f"Kafka at {bootstrap} does not answer: {error}") from error
        self._consumer.subscribe([topic], listener=self)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        try:
            batches = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except KafkaError as error:
            raise PortUnavailable(f"Kafka: {error}") from error
        return [
            Record(
                self._topic,
                partition.partition,
                message.offset,
                message.key or b"",
                message.value or b"",
                list(message.headers or ()),
            )
            for partition, messages in batches.items()
            for message in messages
        ]

    def assignment(self) -> Mapping[int, int]:
        return self._epochs

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        wanted = [TopicPartition(self._topic, partition) for partition in partitions]
        if not wanted:
            return
        try:
            for partition, end in self._consumer.end_offsets(wanted).items():
                self._consumer.seek(partition, end)
        except (KafkaError, AssertionError) as error:
            raise PortUnavailable(f"Kafka: ends of {self._topic}: {error}") from error

    def seek(self, partition: int, offset: int) -> None:
        try:
            self._consumer.seek(TopicPartition(self._topic, partition), offset)
        except (KafkaError, AssertionError) as error:
            raise PortUnavailable(f"Kafka: seek in {self._topic}[{partition}]: {error}") from error

    def commit(self, offsets: Mapping[int, int]) -> None:
        try:
            self._consumer.commit_async(
                {TopicPartition(self._topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}
            )
        except KafkaError as error:
            # A hint was not written; the fences know better.
            log.warning("offsets not committed: %s", error)

    def close(self) -> None:
        self._consumer.close()

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._epoch += 1
        fresh = dict.fromkeys((p.partition for p in assigned), self._epoch)
        self._epochs = {**self._epochs, **fresh}

    def on_partitions_revoked(self, revoked: Any) -> None:
        gone = {p.partition for p in revoked}
        self._epochs = {p: epoch for p, epoch in self._epochs.items() if p not in gone}

    def on_partitions_lost(self, lost: Any) -> None:
        self.on_partitions_revoked(lost)
