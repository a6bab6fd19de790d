"""Creates producers and consumers with the client library that the settings name."""

from __future__ import annotations

from infrastructure.kafka.confluent_consumer import ConfluentConsumer
from infrastructure.kafka.confluent_producer import ConfluentPublisher
from infrastructure.kafka.kafka_python_consumer import KafkaPythonConsumer
from infrastructure.kafka.kafka_python_producer import KafkaPythonPublisher
from infrastructure.kafka.ports import Publisher
from infrastructure.settings.settings import Settings
from projections.core.ports import RecordConsumer


def make_publisher(settings: Settings) -> Publisher:
    """A publisher of the library that ``RIDELOG_KAFKA_CLIENT`` names. Raises PublishError as ``publisher`` does."""
    return publisher(settings.kafka_client, bootstrap(settings))


def make_consumer(settings: Settings, topic: str, group: str) -> RecordConsumer:
    """A consumer of ``topic`` in the group ``<prefix>-<group>``."""
    return consumer(settings.kafka_client, bootstrap(settings), topic, f"{settings.consumer_group_prefix}-{group}")


def publisher(library: str, bootstrap: str) -> Publisher:
    """``library``: "confluent" or "kafka-python". Raises PublishError if kafka-python finds no broker."""
    return KafkaPythonPublisher(bootstrap) if library == "kafka-python" else ConfluentPublisher(bootstrap)


def consumer(library: str, bootstrap: str, topic: str, group: str) -> RecordConsumer:
    """``library``: "confluent" or "kafka-python". Raises PortUnavailable if kafka-python finds no broker."""
    consumer_class = KafkaPythonConsumer if library == "kafka-python" else ConfluentConsumer
    return consumer_class(bootstrap, topic, group)


def bootstrap(settings: Settings) -> str:
    """The broker's address; the supervisor has set it if the broker is embedded."""
    assert settings.kafka_bootstrap is not None, "the supervisor fills in the embedded broker's address"
    return settings.kafka_bootstrap
