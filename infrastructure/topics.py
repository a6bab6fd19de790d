"""Which stream goes to which topic."""

from __future__ import annotations

from infrastructure.settings import Settings

_TOPICS = {"Rider": "gps-pings", "Delivery": "deliveries"}


def topics(settings: Settings) -> dict[str, str]:
    """Stream -> topic name."""
    return {stream: settings.topic_prefix + name for stream, name in _TOPICS.items()}
