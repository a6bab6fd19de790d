"""The data plane by the name of its library."""

from __future__ import annotations

from infrastructure.kafka.port import Publisher
from infrastructure.settings import Settings
from projections.ports import Topic


def make_publisher(settings: Settings) -> Publisher:
    """Of the library that ``RIDELOG_KAFKA_CLIENT`` names."""
    if settings.kafka_client == "kafka-python":
        from infrastructure.kafka.kafka_python_publisher import KafkaPythonPublisher

        return KafkaPythonPublisher(bootstrap(settings))
    from infrastructure.kafka.confluent_publisher import ConfluentPublisher

    return ConfluentPublisher(bootstrap(settings))


def make_topic(settings: Settings, topic: str, group: str) -> Topic:
    """A consumer of ``topic`` in the group ``<prefix>-<group>``."""
    name = f"{settings.consumer_group_prefix}-{group}"
    if settings.kafka_client == "kafka-python":
        from infrastructure.kafka.kafka_python_topic import KafkaPythonTopic

        return KafkaPythonTopic(bootstrap(settings), topic, name)
    from infrastructure.kafka.confluent_topic import ConfluentTopic

    return ConfluentTopic(bootstrap(settings), topic, name)


def bootstrap(settings: Settings) -> str:
    assert settings.kafka_bootstrap is not None, "the supervisor fills in the embedded broker's address"
    return settings.kafka_bootstrap
