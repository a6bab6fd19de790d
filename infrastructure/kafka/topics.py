"""Which stream goes to which topic."""

from __future__ import annotations

from infrastructure.errors import UserError
from infrastructure.kafka import admin
from infrastructure.settings.settings import Settings

_TOPICS = {"Rider": "gps-pings", "Delivery": "deliveries"}


def topics(settings: Settings) -> dict[str, str]:
    """Stream -> topic name."""
    return {stream: settings.topic_prefix + name for stream, name in _TOPICS.items()}


def published_topic(settings: Settings, name: str) -> str:
    """The full name of a topic that a projection publishes to. Its publisher makes it, compacted."""
    return settings.topic_prefix + name


def ensure_topics(settings: Settings) -> None:
    """Make the streams' topics that are missing. Raises UserError if Kafka refuses or one does not fit."""
    assert settings.kafka_bootstrap is not None
    names = list(topics(settings).values())
    try:
        admin.ensure_topics(settings.kafka_bootstrap, names, settings.topic_partitions)
    except admin.TopicError as error:
        raise UserError(f"{error}; see RIDELOG_KAFKA_BOOTSTRAP and RIDELOG_TOPIC_PREFIX") from error
