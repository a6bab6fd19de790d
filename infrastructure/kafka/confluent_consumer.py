"""A consumer on librdkafka."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infrastructure.kafka.partition_assignment import MAX_POLL_INTERVAL_S, SESSION_TIMEOUT_S, Assignment
from infrastructure.observability.throttled_log import ThrottledLogger
from infrastructure.settings.kafka_address import kafka_address
from projections.core.ports import ConsumerRecord, ConsumerUnusable

log = logging.getLogger("ridelog.kafka")

SETTINGS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    # Also after a wipe or a truncation: starting too early costs duplicates, too late costs a read of the event store.
    "auto.offset.reset": "earliest",
    # Otherwise a consumer would create a missing topic, permanently with the wrong number of partitions.
    "allow.auto.create.topics": False,
    # A recreated topic is detected after this time, not after 5 minutes.
    "topic.metadata.refresh.interval.ms": 5_000,
    "reconnect.backoff.max.ms": 1_000,
    # A broker answers one request per connection at a time: a request for offsets waits behind a fetch.
    "fetch.wait.max.ms": 100,
    # A partition is fetched again when ``poll`` has emptied its queue, and immediately. With a longer queue, the client
    # would fetch in a busy loop, each time for the few records since the last fetch.
    "queued.min.messages": 1,
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 10,
    # Other errors arrive through error_cb, which throttles repetitions.
    "log_level": 2,
}
OFFSETS_TIMEOUT_S = 5.0
"""How long to wait for the broker to report the ends of partitions."""
SEEK_TIMEOUT_S = 2.0
"""How long librdkafka may take until it accepts a seek on a newly assigned partition."""
JOIN_TIMEOUT_S = 5.0
"""How long closing waits for a join in progress; on the embedded broker a join takes half the session time-out."""
LATEST = -1
# Transient: the broker is unavailable or the topic does not exist at present. The log has the events missed meanwhile.
_TRANSIENT_ERRORS = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._PARTITION_EOF,
    }
)


class ConfluentConsumer:
    """``projections.core.ports.RecordConsumer`` on confluent-kafka. One thread uses it.

    Raises ConsumerUnusable on permanent errors (no permission, a fenced member, …), and from the seeks when the broker
    is unavailable; ``poll`` returns nothing meanwhile.

    The group replaces a consumer that is killed, paused or disconnected after ``session_timeout_s``, and one that runs
    but does not poll after MAX_POLL_INTERVAL_S.
    """

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
        self._joined = False
        self._errors = ThrottledLogger(log, f"consuming {topic} from Kafka at {address}")
        self._consumer = Consumer(
            {
                **address.librdkafka(),
                "group.id": group,
                "session.timeout.ms": int(session_timeout_s * 1000),
                "heartbeat.interval.ms": int(session_timeout_s * 100),
                "max.poll.interval.ms": int(MAX_POLL_INTERVAL_S * 1000),
                **SETTINGS,
                "error_cb": self._on_error,
                "on_commit": self._on_commit,
                **(overrides or {}),
            },
            logger=logging.getLogger("ridelog.kafka.librdkafka"),
        )
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def poll(self, max_records: int, timeout_s: float) -> list[ConsumerRecord]:
        try:
            # ``consume`` alone would wait for max_records records or the whole time-out.
            first = self._consumer.poll(timeout_s)
            if first is None:
                return []
            messages = [first, *self._consumer.consume(max_records - 1, 0)] if max_records > 1 else [first]
        except KafkaException as error:
            raise ConsumerUnusable(f"Kafka: {self._topic}: {error}") from error
        return self._records(messages)

    def assignment(self) -> Mapping[int, int]:
        return self._assignment.epochs

    def seek_to_end(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        # Resolved now: a logical end would be resolved later, and skip the records that arrive meanwhile.
        wanted = [TopicPartition(self._topic, partition, LATEST) for partition in partitions]
        try:
            ends = self._consumer.offsets_for_times(wanted, OFFSETS_TIMEOUT_S)
        except KafkaException as error:
            raise ConsumerUnusable(f"Kafka: the ends of {self._topic} are not known: {error}") from error
        for end in ends:
            if end.error is not None or end.offset < 0:
                raise ConsumerUnusable(f"Kafka: the end of {self._topic}[{end.partition}] is not known: {end.error}")
        for end in ends:
            self.seek(end.partition, end.offset)

    def seek(self, partition: int, offset: int) -> None:
        deadline = time.monotonic() + SEEK_TIMEOUT_S
        sleeper = threading.Event()
        while True:
            try:
                self._consumer.seek(TopicPartition(self._topic, partition, offset))
                break
            except KafkaException as error:
                if error.args[0].code() != KafkaError._STATE or time.monotonic() > deadline:
                    raise ConsumerUnusable(f"Kafka: seek in {self._topic}[{partition}]: {error}") from error
            # The partition's fetcher is still starting.
            sleeper.wait(0.005)
        self._assignment.sought(partition)

    def commit(self, offsets: Mapping[int, int]) -> None:
        if not offsets:
            return
        positions = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=positions, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], positions)

    def close(self) -> None:
        # If a member leaves a group while it is still joining, the embedded broker assigns no partitions in that group
        # any more until it restarts.
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        while not self._joined and time.monotonic() < deadline:
            try:
                self._consumer.poll(0.1)
            except KafkaException as error:
                log.warning("the consumer of %s is closed while it joins its group: %s", self._topic, error)
                break
        self._consumer.close()

    def _records(self, messages: Sequence[Message]) -> list[ConsumerRecord]:
        records: list[ConsumerRecord] = []
        read, topic = self._assignment.read, self._topic
        for message in messages:
            error = message.error()
            if error is not None:
                self._raise_if_permanent(error)
                continue
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            read(partition, offset)
            records.append(
                ConsumerRecord(
                    topic, partition, offset, message.key() or b"", message.value() or b"", _headers(message)
                )
            )
        return records

    def _raise_if_permanent(self, error: KafkaError) -> None:
        if error.fatal() or (error.code() not in _TRANSIENT_ERRORS and not error.retriable()):
            raise ConsumerUnusable(f"Kafka: {self._topic}: {error}")
        self._on_error(error)

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._joined = True
        self._assignment.assigned(p.partition for p in partitions)
        log.info("%s: partitions held: %s", self._topic, sorted(self._assignment.epochs))

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignment.revoked(p.partition for p in partitions)

    def _on_commit(self, error: KafkaError | None, _partitions: list[TopicPartition]) -> None:
        if error is not None:
            # Committed offsets are only a hint; the fences decide.
            self._errors.warn("commit", f"offsets not committed: {error.str()}")

    def _on_error(self, error: KafkaError) -> None:
        self._errors.warn(error.name(), error.str())


def _headers(message: Message) -> Sequence[tuple[str, bytes]]:
    headers: Any = message.headers()
    return headers or ()
