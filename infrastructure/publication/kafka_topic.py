"""The compacted topic itself: made if it is missing, and told from another one of the same name."""

from __future__ import annotations

import logging
from uuid import UUID

from infrastructure.kafka.admin import COMPACTED, TopicError, admin, ensure_topics
from projections.ports import PortUnavailable

log = logging.getLogger("ridelog.publication")

TIMEOUT_S = 5.0
WITHOUT_ID = "no-id"


class KafkaCompactedTopic:
    """One topic of a broker."""

    def __init__(self, bootstrap: str, name: str, partitions: int, timeout_s: float = TIMEOUT_S) -> None:
        self._bootstrap = bootstrap
        self._name = name
        self._partitions = partitions
        self._timeout_s = timeout_s
        self._told = False

    def identity(self) -> str:
        """The id that the broker gave to the topic when it was made; a missing topic is made.

        So it may be wiped at any time: it comes back under another id, and all is published again. Raises
        PortUnavailable when the broker is away and when the topic has another number of partitions.
        """
        try:
            found = self._ask()
            if found is None:
                ensure_topics(
                    self._bootstrap, [self._name], self._partitions, settings=COMPACTED, timeout_s=self._timeout_s
                )
                log.info("the compacted topic was made", extra={"topic": self._name})
                found = self._ask()
        except TopicError as error:
            raise PortUnavailable(str(error)) from error
        if found is None:
            raise PortUnavailable(f"Kafka: the topic {self._name} went away while it was made")
        if found == WITHOUT_ID and not self._told:
            self._told = True
            log.warning(
                "this broker gives topics no ids: should %s be deleted and made again, nobody would notice; "
                "use a broker with topic ids (Apache Kafka 2.8 or later)",
                self._name,
            )
        return found

    def _ask(self) -> str | None:
        """None if there is no such topic."""
        with admin(self._bootstrap, self._timeout_s) as client:
            (topic,) = client.describe_topics([self._name])
        if topic["error_code"]:
            return None
        if len(topic["partitions"]) != self._partitions:
            raise TopicError(
                f"the topic {self._name} has {len(topic['partitions'])} partitions, not {self._partitions}: "
                "delete it, it is made and filled again, or set RIDELOG_TOPIC_PARTITIONS"
            )
        return _text(topic.get("topic_id"))


def _text(topic_id: object) -> str:
    if not topic_id or UUID(str(topic_id)).int == 0:
        return WITHOUT_ID
    return str(topic_id)
