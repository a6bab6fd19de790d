"""The publishing half of the Kafka data plane; the consuming half is ``projections.core.ports.RecordConsumer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class LastRecord(NamedTuple):
    """A record near the end of its partition: its headers ``position`` and ``id``."""

    position: int
    event_id: str


class ProducerRecord(NamedTuple):
    """One record to publish. ``partition`` is explicit: shard mod P, never chosen by a client's partitioner.

    An empty ``value`` is published as null, which is a tombstone on a compacted topic. A consumer returns it as empty.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class PublishError(Exception):
    """A delivery failed permanently; the relay must stop and restart from its checkpoint (invariant 2)."""


class Publisher(Protocol):
    """Publishes with acks=all, idempotently and without a message time-out; acknowledges whole batches."""

    def publish(self, batch_id: int, records: Sequence[ProducerRecord]) -> int:
        """Hand over a prefix of ``records`` of a batch. Returns the number accepted, fewer if the queue is full.

        Never blocks for longer than a few milliseconds, so that the caller can answer keepalives meanwhile. Raises
        PublishError.
        """
        ...

    def seal(self, batch_id: int) -> None:
        """Declare that the batch gets no more records. A batch without records is acknowledged at once."""
        ...

    def acknowledged(self, timeout_s: float) -> list[int]:
        """Sealed batches of which every record is acknowledged, each returned once, in any order.

        Waits at most ``timeout_s`` seconds for the first one.

        Raises PublishError on any failed delivery.
        """
        ...

    def in_flight(self) -> int:
        """Number of records handed over and not yet acknowledged."""
        ...

    def close(self, timeout_s: float = 5.0) -> int:
        """Flush for at most ``timeout_s`` seconds. Returns the number of records left unacknowledged."""
        ...
