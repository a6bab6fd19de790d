"""Maps streams to topics, and creates the topics that must exist before relays publish and projections subscribe."""

from __future__ import annotations

from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings

_TOPICS = {"Rider": "gps-pings", "Delivery": "deliveries"}


def topics(settings: Settings) -> dict[str, str]:
    """Stream -> topic name."""
    return {stream: settings.topic_prefix + name for stream, name in _TOPICS.items()}


def published_topic(settings: Settings, name: str) -> str:
    """The full name of a topic that a projection publishes to. Its publisher creates it, compacted."""
    return settings.topic_prefix + name


def ensure_topics(settings: Settings) -> None:
    """Create the streams' missing topics. Raises UserError if Kafka rejects that, or a topic has wrong properties."""
    # Programs that need only the names of topics do not load the client of the control plane.
    from infrastructure.kafka import admin

    assert settings.kafka_bootstrap is not None
    names = list(topics(settings).values())
    try:
        admin.ensure_topics(settings.kafka_bootstrap, names, settings.topic_partitions)
    except admin.TopicError as error:
        raise UserError(f"{error}; see RIDELOG_KAFKA_BOOTSTRAP and RIDELOG_TOPIC_PREFIX") from error
