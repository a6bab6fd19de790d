"""A consumer on kafka-python."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from infrastructure.kafka.kafka_python_producer import client_without_auto_create
from infrastructure.kafka.partition_assignment import MAX_POLL_INTERVAL_S, SESSION_TIMEOUT_S, Assignment
from infrastructure.observability.throttled_log import ThrottledLogger
from infrastructure.settings.kafka_address import kafka_address
from projections.core.ports import ConsumerRecord, ConsumerUnusable

log = logging.getLogger("ridelog.kafka")

OFFSETS_TIMEOUT_MS = 5_000
"""How long to wait for the broker to report the ends of partitions."""
COMMIT_TIMEOUT_MS = 2_000
START_TIMEOUT_S = 10.0
"""How long the first connection to a broker may take."""


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Called in the library's thread: queues the events for the thread that polls."""

    def __init__(self) -> None:
        self.queued: deque[tuple[bool, list[int]]] = deque()

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self.queued.append((True, [p.partition for p in assigned]))

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self.queued.append((False, [p.partition for p in revoked]))

    def on_partitions_lost(self, lost: Iterable[Any]) -> None:
        self.on_partitions_revoked(lost)


class KafkaPythonConsumer:
    """``projections.core.ports.RecordConsumer`` on kafka-python. One thread uses it. Raises ConsumerUnusable."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        group: str,
        *,
        session_timeout_s: float = SESSION_TIMEOUT_S,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        address = kafka_address(bootstrap)
        self._topic = topic
        self._assignment = Assignment()
        self._rebalances = _Rebalances()
        self._errors = ThrottledLogger(log, f"consuming {topic} from Kafka at {address}")
        settings = {
            **address.kafka_python(),
            "bootstrap_timeout_ms": int(START_TIMEOUT_S * 1000),
            "group_id": group,
            "enable_auto_commit": False,
            # Also after a wipe: starting too early costs duplicates, too late costs a read of the event store.
            "auto_offset_reset": "earliest",
            "kafka_client": client_without_auto_create,
            "metadata_max_age_ms": 5_000,
            "reconnect_backoff_max_ms": 1_000,
            "fetch_max_wait_ms": 100,
            "fetch_max_bytes": 16 * 1024 * 1024,
            "session_timeout_ms": int(session_timeout_s * 1000),
            "heartbeat_interval_ms": int(session_timeout_s * 100),
            "max_poll_interval_ms": int(MAX_POLL_INTERVAL_S * 1000),
            "metrics_enabled": False,
            **(overrides or {}),
        }
        try:
            self._consumer = KafkaConsumer(**settings)
        except KafkaError as error:
            raise ConsumerUnusable(f"Kafka at {address} does not answer{address.hint}: {error}") from error
        self._consumer.subscribe([topic], listener=self._rebalances)

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        self._keep_joining()
        try:
            batches = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except KafkaError as error:
            if not error.retriable:
                raise ConsumerUnusable(f"Kafka: {self._topic}: {error}") from error
            # An unavailable coordinator or leader comes back or is replaced; the library finds it.
            self._errors.warn("poll", error)
            batches = {}
        finally:
            self._follow_rebalances()
        records: list[ConsumerRecord] = []
        for at, messages in batches.items():
            partition = at.partition
            for message in messages:
                self._assignment.read(partition, message.offset)
                key, value, headers = message.key or b"", message.value or b"", message.headers or ()
                records.append(ConsumerRecord(self._topic, partition, message.offset, key, value, headers))
        return records

    def assignment(self) -> Mapping[int, int]:
        return self._assignment.epochs

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        # Resolved now: a logical end would be resolved at the next poll, and skip the records that arrive meanwhile.
        wanted = [self._at(partition) for partition in partitions]
        try:
            ends = self._consumer.end_offsets(wanted, timeout_ms=OFFSETS_TIMEOUT_MS)
        except KafkaError as error:
            raise ConsumerUnusable(f"Kafka: the ends of {self._topic} are not known: {error}") from error
        for at, end in ends.items():
            self.seek(at.partition, end)

    def seek(self, partition: int, offset: int) -> None:
        try:
            self._consumer.seek(self._at(partition), offset)
        except (KafkaError, ValueError) as error:
            raise ConsumerUnusable(f"Kafka: seek in {self._topic}[{partition}]: {error}") from error
        self._assignment.sought(partition)

    def commit(self, offsets: Mapping[int, int]) -> None:
        if not offsets:
            return
        positions = {self._at(partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
        try:
            self._consumer.commit(positions, timeout_ms=COMMIT_TIMEOUT_MS)
        except KafkaError as error:
            # Committed offsets are only a hint; the fences decide.
            self._errors.warn("commit", f"offsets not committed: {error}")

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=COMMIT_TIMEOUT_MS)

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    def _keep_joining(self) -> None:
        """Continue a join that outlasts one poll in the next poll.

        kafka-python 3.0 forgets a join that started because the topic had changed (as KAFKA-9815): the member would
        then hold no partitions any more, and send no heartbeats.
        """
        coordinator = self._consumer._coordinator
        if coordinator.rejoining:
            coordinator.request_rejoin()

    def _follow_rebalances(self) -> None:
        while self._rebalances.queued:
            held, partitions = self._rebalances.queued.popleft()
            if held:
                self._assignment.assigned(partitions)
                log.info("%s: partitions held: %s", self._topic, sorted(self._assignment.epochs))
            else:
                self._assignment.revoked(partitions)
