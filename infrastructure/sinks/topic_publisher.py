"""Publishes to a compacted topic and waits for the acknowledgements; builds its records."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from infrastructure.kafka.ports import ProducerRecord, Publisher, PublishError
from projections.core.ports import PortUnavailable
from projections.core.projection import Projection

log = logging.getLogger("ridelog.publication")

BATCH_RECORDS = 2_000
"""Records that are handed over and awaited together (invariant 15)."""
ACKNOWLEDGEMENT_TIMEOUT_S = 10.0
"""How long a batch may take; after that the broker counts as unavailable."""


class SynchronousPublisher:
    """Publishes to one topic and returns once everything is acknowledged.

    Opens a publisher at the first record, and a new one after every failure.
    """

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
        """Requests the topic's id from the broker; a recreated topic has another id."""
        self._batch = batch_records
        self._acknowledgement_timeout_s = acknowledgement_timeout_s
        self._clock = clock
        self._publisher: Publisher | None = None
        self._batch_ids = itertools.count(1)

    def publish(self, records: Iterable[ProducerRecord]) -> int:
        """Publish the records. Returns their number once all are acknowledged.

        Raises PortUnavailable; then any of them may be published, now or shortly after, or none.
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
        """Drop the records in flight. After a failure, the caller publishes them again with a new publisher."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            left = publisher.close(0.0)
            if left:
                log.warning("%d records were not acknowledged and are published again", left)

    def _deliver(self, records: Sequence[ProducerRecord]) -> None:
        if self._publisher is None:
            self._publisher = self._open()
        publisher, batch_id = self._publisher, next(self._batch_ids)
        deadline = self._clock() + self._acknowledgement_timeout_s
        taken = publisher.publish(batch_id, records)
        while taken < len(records):
            # The queue is full, or the topic is not known yet: process delivery reports, then hand over the rest.
            self._check_deadline(deadline)
            publisher.acknowledged(0.01)
            taken += publisher.publish(batch_id, records[taken:])
        publisher.seal(batch_id)
        while batch_id not in publisher.acknowledged(0.1):
            self._check_deadline(deadline)

    def _check_deadline(self, deadline: float) -> None:
        if self._clock() > deadline:
            raise PortUnavailable(f"Kafka: {self._acknowledgement_timeout_s:.0f} s without acknowledgement")


S = TypeVar("S")
Encode = Callable[[str, Mapping[str, Any]], bytes]
"""Record name and values -> framed Avro: ``domain.events.contracts.Codec.encode``."""


class PublishedRecords(Generic[S]):
    """Converts a key's state to the record on its compacted topic.

    ``topic`` is the full name. A key goes to the partition of its shard, as on the topic of the events.
    """

    def __init__(self, projection: Projection[S], topic: str, partitions: int, encode: Encode) -> None:
        assert projection.publication is not None
        self._publication = projection.publication
        self._decode = projection.decode
        self._topic = topic
        self._partitions = partitions
        self._encode = encode

    def to_records(self, shard: int, states: Mapping[str, bytes]) -> Iterator[ProducerRecord]:
        """The records of stored states. A key that has nothing to publish yet gives none."""
        for key, state in states.items():
            values = self._values(key, state)
            if values is not None:
                value = self._encode(self._publication.record, values)
                yield self._record(shard, key, value, values["position"])

    def tombstones(self, shard: int, keys: Iterable[str], position: int) -> Iterator[ProducerRecord]:
        """Records that delete the keys from the topic."""
        for key in keys:
            yield self._record(shard, key, b"", position)

    def replacing(self, shard: int, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[ProducerRecord]:
        """Records that change a reader's state from ``old`` to ``new``, for the keys that differ.

        A key whose position steps back, or that does not exist any more, first gets a tombstone, because a reader keeps
        the highest position.
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
