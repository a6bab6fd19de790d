"""Which stream goes to which topic."""

from __future__ import annotations

from infrastructure.settings import Settings

_TOPICS = {"Rider": "gps-pings", "Delivery": "deliveries"}


def topics(settings: Settings) -> dict[str, str]:
    """Stream -> topic name."""
    return {stream: settings.topic_prefix + name for stream, name in _TOPICS.items()}


def published_topic(settings: Settings, name: str) -> str:
    """The full name of a topic that a projection publishes to. Its publisher makes it, compacted."""
    return settings.topic_prefix + name
