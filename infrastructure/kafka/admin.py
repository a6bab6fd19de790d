"""The control plane of Kafka: creates and checks topics, and reads their last records."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition
from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from infrastructure.kafka.ports import LastRecord
from infrastructure.kafka.silent_client import silent_kafka_python
from infrastructure.settings.kafka_address import kafka_address
from projections.core.records import header_number

TIMEOUT_S = 10.0
MAX_PARTITIONS = 64
"""The number of shards: partition = shard modulo the number of partitions."""
TOPIC_SETTINGS: Mapping[str, str] = {
    # A phone's clock must not make the broker reject a record or delete a segment. (The embedded broker accepts the
    # setting but keeps the producer's time; it deletes nothing.)
    "message.timestamp.type": "LogAppendTime",
}
BROKER_DEFAULT_REPLICATION = -1
"""The cluster's ``default.replication.factor``: the number of brokers is unknown here."""
COMPACTED: Mapping[str, str] = {"cleanup.policy": "compact"}


class TopicError(Exception):
    """Kafka is unavailable, or a topic has wrong properties; the message says what to do."""


@contextmanager
def admin(bootstrap: str, timeout_s: float = TIMEOUT_S) -> Iterator[Any]:
    """Yield an admin client and close it. Raises TopicError when the broker is unavailable or rejects a request."""
    timeout_ms, address = int(timeout_s * 1000), kafka_address(bootstrap)
    # While a broker is unavailable, the library logs two lines per attempt; the raised error reports it once.
    with silent_kafka_python():
        try:
            client = KafkaAdminClient(
                **address.kafka_python(),
                bootstrap_timeout_ms=timeout_ms,
                request_timeout_ms=timeout_ms,
                client_id="ridelog-admin",
            )
        except KafkaError as error:
            raise TopicError(
                f"Kafka at {address} does not answer within {timeout_s:.0f} s{address.hint}: {error}"
            ) from error
        try:
            yield client
        except KafkaError as error:
            raise TopicError(f"Kafka at {address}: {error}") from error
        finally:
            client.close()


def ensure_topics(
    bootstrap: str,
    names: Sequence[str],
    partitions: int,
    *,
    replication: int = BROKER_DEFAULT_REPLICATION,
    settings: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Create missing topics, with ``settings`` in addition to TOPIC_SETTINGS, and wait until each has its leaders.

    Raises TopicError when Kafka is unavailable, and when a topic exists with another number of partitions. That number
    cannot change during a topic's life, because the partition of a rider is its shard modulo that number.
    """
    if not 1 <= partitions <= MAX_PARTITIONS or partitions & (partitions - 1):
        raise TopicError(f"a topic has 1, 2, 4, … or {MAX_PARTITIONS} partitions, not {partitions}")
    wanted = {
        "num_partitions": partitions,
        "replication_factor": replication,
        "configs": {**TOPIC_SETTINGS, **(settings or {})},
    }
    with admin(bootstrap, timeout_s) as client:
        existing = partition_counts(client, names)
        _check(existing, partitions)
        for name in names:
            if name not in existing:
                # Another process may create it first; its number of partitions is checked below.
                with suppress(TopicAlreadyExistsError):
                    client.create_topics({name: wanted}, timeout_ms=int(timeout_s * 1000))
        client.wait_for_topics(names, timeout_ms=int(timeout_s * 1000))
        _check(partition_counts(client, names), partitions)


def missing_topics(bootstrap: str, names: Sequence[str], partitions: int, timeout_s: float = TIMEOUT_S) -> list[str]:
    """Names of those topics that do not exist; none is created. Waits until each of the others has its leaders.

    Raises TopicError as ``ensure_topics``.
    """
    with admin(bootstrap, timeout_s) as client:
        existing = partition_counts(client, names)
        _check(existing, partitions)
        if existing:
            client.wait_for_topics(list(existing), timeout_ms=int(timeout_s * 1000))
    return [name for name in names if name not in existing]


def partition_counts(client: Any, names: Sequence[str]) -> dict[str, int]:
    """Number of partitions of those topics that exist. The request does not create them."""
    described = client.describe_topics(list(names))
    return {topic["name"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}


def topic_ids(bootstrap: str, names: Sequence[str], timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Ids of those topics that exist, as the broker reports them. Raises TopicError."""
    with admin(bootstrap, timeout_s) as client:
        described = client.describe_topics(list(names))
    return {topic["name"]: str(topic.get("topic_id") or "") for topic in described if not topic["error_code"]}


def _check(counts: Mapping[str, int], partitions: int) -> None:
    wrong = {name: count for name, count in counts.items() if count != partitions}
    if wrong:
        raise TopicError(
            f"topics {wrong} have another number of partitions than RIDELOG_TOPIC_PARTITIONS={partitions}: "
            "set it to theirs, or use new topics with another RIDELOG_TOPIC_PREFIX"
        )


LAST_RECORDS_TIMEOUT_S = 5.0
MAX_READ_S = 30.0
"""How long the ends of all partitions are read. One that gives no record, since it ends with a transaction marker or
has lost its leader, would else keep the reader busy for as long as another one is written to (invariant 15)."""

T = TypeVar("T")


def until_each_has_one(
    consume: Callable[[], list[T]],
    partition_of: Callable[[T], int | None],
    partitions: Collection[int],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Messages until each of ``partitions`` has given one, nothing arrives, or MAX_READ_S have passed."""
    left: set[int | None] = set(partitions)
    ends_at = clock() + MAX_READ_S
    # A topic that is written to has no fixed end: one record per partition is enough.
    while left and clock() < ends_at and (messages := consume()):
        for message in messages:
            left.discard(partition_of(message))
            yield message


def last_records(
    bootstrap: str, topic: str, partitions: int, timeout_s: float = LAST_RECORDS_TIMEOUT_S
) -> list[LastRecord]:
    """The last records of a topic; they show which log they are from.

    Reads each partition from the last offset that the broker reports up to its end; the embedded broker reports the
    start of its last batch. Records without the relay's headers are skipped. Raises TopicError.
    """
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
        partitions_read = {start.partition for start in starts}
        for message in until_each_has_one(
            lambda: consumer.consume(1_000, timeout_s), lambda one: one.partition(), partitions_read
        ):
            if message.error() is not None:
                raise TopicError(f"{topic} cannot be read: {message.error()}")
            found.extend(_last_record(message.headers()))
    except KafkaException as error:
        raise TopicError(f"{topic} cannot be read: {error}") from error
    finally:
        consumer.close()
    return found


def _last_record(headers: object) -> list[LastRecord]:
    known = dict(headers) if isinstance(headers, list) else {}
    try:
        # Bounded: the position becomes a query parameter, and the database rejects a larger one.
        return [LastRecord(header_number(known["position"]), known["id"].decode("ascii"))]
    except (KeyError, ValueError, AttributeError, TypeError):
        return []
