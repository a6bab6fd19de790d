"""Creates producers and consumers with the client library that the settings name; the other one is not loaded."""

from __future__ import annotations

from infrastructure.kafka.confluent_consumer import ConfluentConsumer
from infrastructure.kafka.confluent_producer import ConfluentPublisher
from infrastructure.kafka.ports import Publisher
from infrastructure.settings.settings import Settings
from projections.core.ports import RecordConsumer

FETCH_WAIT_MS = 100
"""A broker answers one request per connection at a time, so a request for offsets waits behind an open fetch."""


def make_publisher(settings: Settings) -> Publisher:
    """A publisher of the library that ``RIDELOG_KAFKA_CLIENT`` names. Raises PublishError as ``publisher`` does."""
    return publisher(settings.kafka_client, bootstrap(settings))


def make_consumer(settings: Settings, topic: str, group: str, *, fetch_wait_ms: int = FETCH_WAIT_MS) -> RecordConsumer:
    """A consumer of ``topic`` in the group ``<prefix>-<group>``.

    ``fetch_wait_ms``: longest time that the broker keeps a fetch open while there are no records. New records end it.
    """
    name = f"{settings.consumer_group_prefix}-{group}"
    return consumer(settings.kafka_client, bootstrap(settings), topic, name, fetch_wait_ms=fetch_wait_ms)


def publisher(library: str, bootstrap: str) -> Publisher:
    """``library``: "confluent" or "kafka-python". Raises PublishError if kafka-python finds no broker."""
    if library == "kafka-python":
        from infrastructure.kafka.kafka_python_producer import KafkaPythonPublisher

        return KafkaPythonPublisher(bootstrap)
    return ConfluentPublisher(bootstrap)


def consumer(
    library: str, bootstrap: str, topic: str, group: str, *, fetch_wait_ms: int = FETCH_WAIT_MS
) -> RecordConsumer:
    """``library``: "confluent" or "kafka-python". Raises PortUnavailable if kafka-python finds no broker."""
    if library == "kafka-python":
        from infrastructure.kafka.kafka_python_consumer import KafkaPythonConsumer

        return KafkaPythonConsumer(bootstrap, topic, group, overrides={"fetch_max_wait_ms": fetch_wait_ms})
    return ConfluentConsumer(bootstrap, topic, group, overrides={"fetch.wait.max.ms": fetch_wait_ms})


def bootstrap(settings: Settings) -> str:
    """The broker's address; the supervisor has set it if the broker is embedded."""
    assert settings.kafka_bootstrap is not None, "the supervisor fills in the embedded broker's address"
    return settings.kafka_bootstrap
