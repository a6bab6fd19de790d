"""Publishing with an answer: what this returns from is on the topic."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from infrastructure.kafka.admin import COMPACTED, TopicError, admin, ensure_topics
from infrastructure.kafka.ports import ProducerRecord, Publisher, PublishError
from projections.core.ports import PortUnavailable
from projections.core.projection import Projection

log = logging.getLogger("ridelog.publication")

BATCH_RECORDS = 2_000
"""Handed over, and waited for, at once (invariant 15)."""
ACKNOWLEDGEMENT_TIMEOUT_S = 10.0
"""How long a batch may take; then the broker counts as away."""


class SynchronousPublisher:
    """One topic. Opens its publisher when there is something to publish, and anew after every failure."""

    def __init__(
        self,
        open_publisher: Callable[[], Publisher],
        identity: Callable[[], str],
        *,
        batch_records: int = BATCH_RECORDS,
        acknowledgement_timeout_s: float = ACKNOWLEDGEMENT_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_publisher
        self.identity = identity
        """Asks the broker which topic bears the name now; another one after it was made again."""
        self._batch = batch_records
        self._acknowledged_s = acknowledgement_timeout_s
        self._clock = clock
        self._publisher: Publisher | None = None
        self._batch_ids = itertools.count(1)

    def publish(self, records: Iterable[ProducerRecord]) -> int:
        """Their number, when all are acknowledged.

        Raises PortUnavailable; then any of them may be published, now or a little later, or none.
        """
        left, published = iter(records), 0
        while batch := list(itertools.islice(left, self._batch)):
            try:
                self._deliver(batch)
            except PublishError as error:
                self.close()
                raise PortUnavailable(f"Kafka: {error}") from error
            except PortUnavailable:
                self.close()
                raise
            published += len(batch)
        return published

    def close(self) -> None:
        """Drop what is under way: after a failure it is published again, by another publisher."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            left = publisher.close(0.0)
            if left:
                log.warning("%d records were not acknowledged and are published again", left)

    def _deliver(self, records: Sequence[ProducerRecord]) -> None:
        if self._publisher is None:
            self._publisher = self._open()
        publisher, batch_id = self._publisher, next(self._batch_ids)
        deadline = self._clock() + self._acknowledged_s
        taken = publisher.publish(batch_id, records)
        while taken < len(records):
            # A full queue, or a topic that is not known yet: reports are served, then the rest is handed over.
            self._in_time(deadline)
            publisher.acknowledged(0.01)
            taken += publisher.publish(batch_id, records[taken:])
        publisher.seal(batch_id)
        while batch_id not in publisher.acknowledged(0.1):
            self._in_time(deadline)

    def _in_time(self, deadline: float) -> None:
        if self._clock() > deadline:
            raise PortUnavailable(f"Kafka: {self._acknowledged_s:.0f} s without acknowledgement")


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


S = TypeVar("S")
Encode = Callable[[str, Mapping[str, Any]], bytes]
"""Record name and values -> framed Avro: ``domain.events.contracts.Codec.encode``."""


class PublishedRecords(Generic[S]):
    """``topic`` is the full name; a key goes to the partition of its shard, as on the topic of the events."""

    def __init__(self, projection: Projection[S], topic: str, partitions: int, encode: Encode) -> None:
        assert projection.publication is not None
        self._publication = projection.publication
        self._decode = projection.decode
        self._topic = topic
        self._partitions = partitions
        self._encode = encode

    def to_records(self, shard: int, states: Mapping[str, bytes]) -> Iterator[ProducerRecord]:
        """Stored states as records; a key of which there is nothing to tell yet gives none."""
        for key, state in states.items():
            values = self._values(key, state)
            if values is not None:
                value = self._encode(self._publication.record, values)
                yield self._record(shard, key, value, values["position"])

    def tombstones(self, shard: int, keys: Iterable[str], position: int) -> Iterator[ProducerRecord]:
        """Records that take the keys off the topic."""
        for key in keys:
            yield self._record(shard, key, b"", position)

    def replacing(self, shard: int, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[ProducerRecord]:
        """Records that lead a reader of ``old`` to ``new``: of the keys that differ, one after the other.

        A key whose position steps back, or that is gone, is first taken off: a reader keeps the highest position.
        """
        for key in old.keys() | new.keys():
            if old.get(key) == new.get(key):
                continue
            shown, values = self._values(key, old.get(key)), self._values(key, new.get(key))
            if shown is not None and (values is None or values["position"] < shown["position"]):
                yield self._record(shard, key, b"", shown["position"])
            if values is not None:
                yield self._record(shard, key, self._encode(self._publication.record, values), values["position"])

    def _values(self, key: str, state: bytes | None) -> Mapping[str, Any] | None:
        return None if state is None else self._publication.values(key, self._decode(state))

    def _record(self, shard: int, key: str, value: bytes, position: int) -> ProducerRecord:
        headers = [("position", str(position).encode())]
        return ProducerRecord(self._topic, shard % self._partitions, key.encode(), value, headers)
