"""The publishing half of the Kafka data plane; the consuming half is ``projections.core.ports.Topic``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class LastRecord(NamedTuple):
    """A record near the end of its partition: its headers ``position`` and ``id``."""

    position: int
    event_id: str


class ProducerRecord(NamedTuple):
    """One record to publish. ``partition`` is explicit: shard mod P, never left to a client's partitioner.

    An empty ``value`` is published as none at all: on a compacted topic, a tombstone. It reads as empty again.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class PublishError(Exception):
    """A delivery failed for good; the tailer must stop and start again from the confirmed LSN (invariant 2)."""


class Publisher(Protocol):
    """Publishes with acks=all, idempotently and without a message time-out; acknowledges whole tokens."""

    def publish(self, batch_id: int, records: Sequence[ProducerRecord]) -> int:
        """Hand over a prefix of ``records`` under ``batch_id``; the number accepted, less when the queue is full.

        Never blocks for longer than a few milliseconds, so that the caller can answer keepalives meanwhile.
        """
        ...

    def seal(self, batch_id: int) -> None:
        """No more records will come for ``batch_id``; one without records is acknowledged at once."""
        ...

    def acknowledged(self, timeout_s: float) -> list[int]:
        """Sealed tokens whose every record is acknowledged, each reported once, in any order.

        Raises PublishError on any failed delivery.
        """
        ...

    def in_flight(self) -> int:
        """Records handed over and not yet acknowledged."""
        ...

    def close(self, timeout_s: float = 5.0) -> int:
        """Flush for at most ``timeout_s`` seconds; the number of records left unacknowledged."""
        ...
