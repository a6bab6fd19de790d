"""The topics that must exist before the tailer publishes and the projections subscribe."""

from __future__ import annotations

from infrastructure.kafka import admin
from infrastructure.settings import Settings
from infrastructure.topics import topics
from infrastructure.user_error import UserError


def ensure_topics(settings: Settings) -> None:
    """Make the streams' topics that are missing. Raises UserError if Kafka refuses or one does not fit."""
    assert settings.kafka_bootstrap is not None
    names = list(topics(settings).values())
    try:
        admin.ensure_topics(settings.kafka_bootstrap, names, settings.topic_partitions)
    except admin.TopicError as error:
        raise UserError(f"{error}; see RIDELOG_KAFKA_BOOTSTRAP and RIDELOG_TOPIC_PREFIX") from error
