"""Drains and restarts the embedded broker, which keeps its log in memory, once it holds too many records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from infrastructure.kafka.silent_client import silent_kafka_python

log = logging.getLogger(__name__)

COUNT_INTERVAL_S = 15.0
DRAIN_S = 5.0
"""Time for the consumers to read what the broker holds. The restart loses the records that they did not read, and they
read those from the event store instead (invariant 4): this saves work, and correctness does not depend on it."""


class Restarter(Protocol):
    """The part of the supervisor that a restart needs."""

    def hold(self, name: str) -> None: ...
    def release(self, name: str) -> None: ...
    def restart(self, name: str) -> None: ...
    def is_repaired(self, name: str) -> bool: ...


class BrokerMemoryLimit:
    """Restarts the broker once it holds more than ``max_records``; the tailer waits meanwhile."""

    def __init__(
        self,
        supervisor: Restarter,
        count: Callable[[], int],
        max_records: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._supervisor = supervisor
        self._count = count
        self._max_records = max_records
        self._clock = clock
        self._next_count = clock() + COUNT_INTERVAL_S
        self._drain_until: float | None = None
        self._restarting = False

    def check(self) -> None:
        """Take the next step if it is due. Never waits."""
        now = self._clock()
        if self._restarting:
            if self._supervisor.is_repaired("kafka"):
                self._restarting = False
                self._supervisor.release("tailer")
        elif self._drain_until is not None:
            if now >= self._drain_until:
                self._drain_until, self._restarting = None, True
                self._supervisor.restart("kafka")
        elif now >= self._next_count:
            self._next_count = now + COUNT_INTERVAL_S
            self._drain_if_full(now)

    def _drain_if_full(self, now: float) -> None:
        try:
            records = self._count()
        except KafkaError as error:
            log.warning("the records of the embedded broker cannot be counted now (%s); retrying", error)
            return
        if records > self._max_records:
            log.warning(
                "the embedded broker holds %d records in memory, more than %d: it is drained and restarted. Nothing is "
                "lost. To avoid the pause, set RIDELOG_KAFKA_BOOTSTRAP to a Kafka of your own",
                records,
                self._max_records,
            )
            self._supervisor.hold("tailer")
            self._drain_until = now + DRAIN_S


def count_records(bootstrap: str, topic_prefix: str) -> int:
    """The number of records that the broker holds in topics with the prefix.

    Of the last batch of each partition only one record is counted: the embedded broker reports no more. Raises
    KafkaError if the broker does not answer.
    """
    with (
        silent_kafka_python(),
        closing(
            KafkaConsumer(bootstrap_servers=bootstrap, request_timeout_ms=4000, bootstrap_timeout_ms=4000)
        ) as consumer,
    ):
        partitions = [
            TopicPartition(topic, partition)
            for topic in consumer.topics()
            if topic.startswith(topic_prefix) and not topic.startswith("__")
            for partition in consumer.partitions_for_topic(topic) or ()
        ]
        begin, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        return sum(end[partition] - begin[partition] for partition in partitions)
