"""The control plane of Kafka, through kafka-python: topics, offsets, group lag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

TOPIC_SETTINGS: Mapping[str, str] = {
    # No phone's clock may make the broker refuse a record or delete a segment.
    "message.timestamp.type": "LogAppendTime",
}


class TopicError(Exception):
    """Kafka is away, or a topic is not as it must be; the message says what to do."""


@contextmanager
def admin(bootstrap: str, timeout_ms: int = 10_000) -> Iterator[Any]:
    """An admin client, closed at the end. Raises TopicError when the broker is away."""
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","),
            bootstrap_timeout_ms=timeout_ms,
            request_timeout_ms=timeout_ms,
            client_id="ridelog-admin",
        )
    except KafkaError as error:
        raise TopicError(f"Kafka at {bootstrap} does not answer: {error}") from error
    try:
        yield client
    except KafkaError as error:
        raise TopicError(f"Kafka at {bootstrap}: {error}") from error
    finally:
        client.close()


def ensure_topics(
    bootstrap: str,
    names: Sequence[str],
    partitions: int,
    *,
    replication: int = 1,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Make the topics that are missing.

    Raises TopicError when one exists with another number of partitions: it is fixed for a topic's life, since the
    partition of a rider is its shard modulo that number.
    """
    with admin(bootstrap) as client:
        counts = partition_counts(client, names)
        missing = [name for name in names if name not in counts]
        for name in missing:
            topic = NewTopic(
                name=name,
                num_partitions=partitions,
                replication_factor=replication,
                topic_configs={**TOPIC_SETTINGS, **(settings or {})},
            )
            try:
                client.create_topics([topic])
            except TopicAlreadyExistsError:
                continue  # another process was faster
        wrong = {name: count for name, count in counts.items() if count != partitions}
        if wrong:
            raise TopicError(
                f"topics {wrong} have another number of partitions than RIDELOG_TOPIC_PARTITIONS={partitions}: "
                "set it to theirs, or name new topics by RIDELOG_TOPIC_PREFIX"
            )


def partition_counts(client: Any, names: Sequence[str]) -> dict[str, int]:
    """Number of partitions of those topics that exist."""
    existing = set(client.list_topics()) & set(names)
    if not existing:
        return {}
    return {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics(sorted(existing))}
