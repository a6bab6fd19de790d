"""A publisher on kafka-python: the same guarantees as librdkafka, at about fifteen times the CPU per record."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient

from infrastructure.kafka.delivery_tracker import DeliveryTracker, PendingBatch
from infrastructure.kafka.ports import ProducerRecord, PublishError
from infrastructure.settings.kafka_address import kafka_address


def client_without_auto_create(**settings: Any) -> Any:
    """A client for the ``kafka_client`` setting of a producer or consumer.

    kafka-python 3.0 accepts ``allow_auto_create_topics=False`` but ignores it: its metadata requests create missing
    topics with the broker's number of partitions, which is then permanently the wrong number.
    """
    client = KafkaNetClient(**settings)
    client.cluster.config["allow_auto_create_topics"] = False
    return client


MAX_IN_FLIGHT = 20_000
"""Records. kafka-python's own buffer has no bound (invariant 15)."""
METADATA_TIMEOUT_S = 30.0
"""How long a topic may be unknown before publishing to it fails, as with librdkafka."""


class KafkaPythonPublisher:
    """``infrastructure.kafka.ports.Publisher`` on kafka-python. One thread uses it.

    Its producer is idempotent and sends one batch of a partition at a time, so a retry keeps the order. Raises
    PublishError when the broker does not answer at the start, and when a delivery fails permanently.
    """

    def __init__(self, bootstrap: str, *, max_in_flight: int = MAX_IN_FLIGHT, start_timeout_s: float = 10.0) -> None:
        address = kafka_address(bootstrap)
        self._tracker = DeliveryTracker()
        self._max_in_flight = max_in_flight
        self._unknown_since: float | None = None
        # Delivery reports arrive in the library's thread; they are counted in the caller's thread.
        self._reports: queue.SimpleQueue[tuple[PendingBatch, BaseException | None]] = queue.SimpleQueue()
        try:
            self._producer = KafkaProducer(
                **address.kafka_python(),
                bootstrap_timeout_ms=int(start_timeout_s * 1000),
                acks="all",
                enable_idempotence=True,
                # A record waits for the broker indefinitely (invariant 2).
                delivery_timeout_ms=float("inf"),
                kafka_client=client_without_auto_create,
                linger_ms=5,
                batch_size=65_536,
                # ``send`` blocks while the topic's metadata is unknown.
                max_block_ms=5,
                reconnect_backoff_max_ms=1_000,
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise PublishError(f"Kafka at {address} does not answer{address.hint}: {error}") from error

    def publish(self, batch_id: int, records: Sequence[ProducerRecord]) -> int:
        self._raise_failure()
        entry = self._tracker.batch(batch_id)
        room = max(0, self._max_in_flight - self._tracker.in_flight)
        accepted = 0
        try:
            for topic, partition, key, value, headers in records[:room]:
                future = self._producer.send(topic, value or None, key, headers, partition)
                accepted += 1
                future.add_callback(partial(self._report, entry, None))
                future.add_errback(partial(self._report, entry))
            self._unknown_since = None
        except KafkaTimeoutError as error:
            self._wait_for_topic(error)
        except (KafkaError, ValueError) as error:
            self._tracker.fail(f"{type(error).__name__}: {error}")
        finally:
            entry.sent(accepted)
        self._raise_failure()
        return accepted

    def seal(self, batch_id: int) -> None:
        self._tracker.batch(batch_id).seal()

    def acknowledged(self, timeout_s: float) -> list[int]:
        self._count_reports(0.0 if self._tracker.any_finished() else timeout_s)
        self._raise_failure()
        return self._tracker.take()

    def in_flight(self) -> int:
        return self._tracker.in_flight

    def close(self, timeout_s: float = 5.0) -> int:
        deadline = time.monotonic() + timeout_s
        while self._tracker.in_flight and self._tracker.failure is None and time.monotonic() < deadline:
            self._count_reports(deadline - time.monotonic())
        left = self._tracker.in_flight
        try:
            self._producer.close(timeout=0)
        except KafkaTimeoutError:
            # The library refuses to close with records in flight, and has no public way to drop them. They are counted
            # here, and the next publisher sends them.
            self._producer._sender.force_close()
            self._producer._sender.join(1.0)
            self._producer.close(timeout=0)
        return left

    def _report(self, entry: PendingBatch, error: BaseException | None, _metadata: object = None) -> None:
        self._reports.put((entry, error))

    def _count_reports(self, timeout_s: float) -> None:
        try:
            entry, error = self._reports.get(timeout=timeout_s) if timeout_s > 0 else self._reports.get_nowait()
            while True:
                entry.delivered(error, None)
                entry, error = self._reports.get_nowait()
        except queue.Empty:
            return  # every queued report is counted

    def _wait_for_topic(self, error: KafkaTimeoutError) -> None:
        now = time.monotonic()
        self._unknown_since = self._unknown_since or now
        if now - self._unknown_since > METADATA_TIMEOUT_S:
            self._tracker.fail(f"no metadata of the topic for {METADATA_TIMEOUT_S:.0f} s: {error}")

    def _raise_failure(self) -> None:
        if self._tracker.failure is not None:
            raise PublishError(self._tracker.failure)
