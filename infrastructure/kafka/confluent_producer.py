"""A publisher on librdkafka."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from infrastructure.kafka.delivery_tracker import DeliveryTracker
from infrastructure.kafka.ports import ProducerRecord, PublishError
from infrastructure.observability.throttled_log import ThrottledLogger
from infrastructure.settings.kafka_address import kafka_address

MAX_EPOCHS_WITHOUT_DELIVERY = 10
"""A lost connection or leader costs one or two epochs; a forgotten producer uses about 75 a second."""


class ForgottenProducerDetector:
    """Detects that a broker has permanently forgotten an idempotent producer.

    A broker that restarts without its log (the embedded one always does) answers every batch with UNKNOWN_PRODUCER_ID.
    librdkafka then requests a higher epoch of the same id and sends again, forever and without an error: nothing would
    be acknowledged, and no error reported. Call ``is_forgotten`` at any interval.
    """

    def __init__(self) -> None:
        self._delivered = 0
        self._epoch_then = 0

    def is_forgotten(self, epoch: int, delivered: int) -> bool:
        """Whether the epoch keeps growing while nothing is delivered. ``delivered``: total of delivered records."""
        if delivered != self._delivered or epoch < self._epoch_then:
            self._delivered = delivered
            self._epoch_then = epoch
        return epoch - self._epoch_then > MAX_EPOCHS_WITHOUT_DELIVERY


log = logging.getLogger("ridelog.kafka")

SETTINGS: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    # A record waits for the broker indefinitely: giving up would leave a gap (invariant 2).
    "message.timeout.ms": 0,
    # Java's hash, for records published without a partition; librdkafka's own default differs.
    "partitioner": "murmur2_random",
    # A producer's metadata requests create missing topics by default, with the broker's number of partitions: after
    # a wipe that would be permanently the wrong number.
    "allow.auto.create.topics": False,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
    "linger.ms": 5,
    "compression.type": "lz4",
    # Otherwise up to 10 s, during which a recovered broker is not detected.
    "reconnect.backoff.max.ms": 1_000,
    "statistics.interval.ms": 1_000,
    # Other errors arrive through error_cb, which throttles repetitions.
    "log_level": 2,
}
FORGOTTEN = (
    "the broker does not know this producer any more (it restarted without its log): "
    "publish again, from the confirmed position, with a new one"
)


class ConfluentPublisher:
    """``infrastructure.kafka.ports.Publisher`` on confluent-kafka. One thread uses it.

    Raises PublishError when a delivery fails permanently: an unknown topic (after 30 s) or partition, a record that is
    too large, a broker that has forgotten this producer (within about 2 s). It waits for an unavailable broker.
    """

    def __init__(self, bootstrap: str, overrides: Mapping[str, Any] | None = None) -> None:
        address = kafka_address(bootstrap)
        self._tracker = DeliveryTracker()
        watch = _WatchedProducer(self._tracker, ThrottledLogger(log, f"publishing to Kafka at {address}"))
        callbacks = {"error_cb": watch.on_error, "stats_cb": watch.on_statistics}
        self._producer = Producer(
            {**address.librdkafka(), **SETTINGS, **callbacks, **(overrides or {})},
            logger=logging.getLogger("ridelog.kafka.librdkafka"),
        )

    def publish(self, batch_id: int, records: Sequence[ProducerRecord]) -> int:
        self._raise_failure()
        entry = self._tracker.batch(batch_id)
        produce: Any = self._producer.produce
        delivered = entry.delivered
        accepted = 0
        try:
            for topic, partition, key, value, headers in records:
                produce(topic, value or None, key, partition, delivered, None, 0, headers)
                accepted += 1
        except BufferError:
            pass  # the local queue is full: the caller hands over the rest later
        except KafkaException as error:
            self._tracker.fail(str(error))
            self._raise_failure()
        finally:
            entry.sent(accepted)
        return accepted

    def seal(self, batch_id: int) -> None:
        self._tracker.batch(batch_id).seal()

    def acknowledged(self, timeout_s: float) -> list[int]:
        try:
            self._producer.poll(0.0 if self._tracker.any_finished() else timeout_s)
        except KafkaException as error:
            # A fatal error may be raised here before the callback gets it. It is permanent, like any other failure.
            self._tracker.fail(str(error))
        self._raise_failure()
        return self._tracker.take()

    def in_flight(self) -> int:
        return self._tracker.in_flight

    def close(self, timeout_s: float = 5.0) -> int:
        if self._tracker.failure is None:
            self._producer.flush(timeout_s)
        left = self._tracker.in_flight
        if left:
            # The next publisher sends them again; waiting here would block the process until the broker is back.
            self._producer.purge()
            self._producer.flush(1.0)
        return left

    def _raise_failure(self) -> None:
        if self._tracker.failure is not None:
            raise PublishError(self._tracker.failure)


class _WatchedProducer:
    """Receives errors and statistics from librdkafka.

    It has no reference to the producer. Without a reference cycle, the producer's threads and connection end with the
    last reference to the publisher, not at some later run of the garbage collector.
    """

    def __init__(self, tracker: DeliveryTracker, errors: ThrottledLogger) -> None:
        self._tracker = tracker
        self._errors = errors
        self._detector = ForgottenProducerDetector()

    def on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._tracker.fail(str(error))
        else:
            self._errors.warn(error.name(), error.str())

    def on_statistics(self, text: str) -> None:
        epoch = json.loads(text)["eos"]["producer_epoch"]
        if self._detector.is_forgotten(epoch, self._tracker.delivered):
            self._tracker.fail(FORGOTTEN)
