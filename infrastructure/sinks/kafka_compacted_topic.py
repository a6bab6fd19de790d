"""Creates a compacted topic on the broker, and distinguishes it from a recreated one by its id."""

from __future__ import annotations

import logging
from uuid import UUID

from infrastructure.kafka.admin import COMPACTED, TopicError, admin, ensure_topics
from projections.core.ports import PortUnavailable

log = logging.getLogger("ridelog.publication")

TIMEOUT_S = 5.0
WITHOUT_ID = "no-id"


class KafkaCompactedTopic:
    """The compacted topic itself: creates it if it is missing, and distinguishes it from a recreated one by its id."""

    def __init__(self, bootstrap: str, name: str, partitions: int, timeout_s: float = TIMEOUT_S) -> None:
        self._bootstrap = bootstrap
        self._name = name
        self._partitions = partitions
        self._timeout_s = timeout_s
        self._warned = False

    def identity(self) -> str:
        """The id that the broker assigned to the topic at its creation. A missing topic is created.

        The topic may therefore be wiped at any time: it gets another id, and everything is published again. Raises
        PortUnavailable when the broker is unavailable, and when the topic has another number of partitions.
        """
        try:
            found = self._request_id()
            if found is None:
                ensure_topics(
                    self._bootstrap, [self._name], self._partitions, settings=COMPACTED, timeout_s=self._timeout_s
                )
                log.info("the compacted topic was created", extra={"topic": self._name})
                found = self._request_id()
        except TopicError as error:
            raise PortUnavailable(str(error)) from error
        if found is None:
            raise PortUnavailable(f"Kafka: the topic {self._name} was deleted during its creation")
        if found == WITHOUT_ID and not self._warned:
            self._warned = True
            log.warning(
                "this broker has no topic ids: if %s is deleted and recreated, that is not detected; "
                "use a broker with topic ids (Apache Kafka 2.8 or later)",
                self._name,
            )
        return found

    def _request_id(self) -> str | None:
        """Request the topic's id. Returns None if there is no such topic. Raises TopicError."""
        with admin(self._bootstrap, self._timeout_s) as client:
            (topic,) = client.describe_topics([self._name])
        if topic["error_code"]:
            return None
        if len(topic["partitions"]) != self._partitions:
            raise TopicError(
                f"the topic {self._name} has {len(topic['partitions'])} partitions, not {self._partitions}: "
                "delete it, it is recreated and filled, or set RIDELOG_TOPIC_PARTITIONS"
            )
        return _id_text(topic.get("topic_id"))


def _id_text(topic_id: object) -> str:
    if not topic_id or UUID(str(topic_id)).int == 0:
        return WITHOUT_ID
    return str(topic_id)
