"""A key's state as the record that its compacted topic shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from infrastructure.kafka.port import OutRecord
from projections.protocol import Projection

S = TypeVar("S")
Encode = Callable[[str, Mapping[str, Any]], bytes]
"""Record name and values -> framed Avro: ``domain.contracts.Codec.encode``."""


class PublishedRecords(Generic[S]):
    """``topic`` is the full name; a key goes to the partition of its shard, as on the topic of the events."""

    def __init__(self, projection: Projection[S], topic: str, partitions: int, encode: Encode) -> None:
        assert projection.publication is not None
        self._publication = projection.publication
        self._decode = projection.decode
        self._topic = topic
        self._partitions = partitions
        self._encode = encode

    def of(self, shard: int, states: Mapping[str, bytes]) -> Iterator[OutRecord]:
        """Stored states as records; a key of which there is nothing to tell yet gives none."""
        for key, state in states.items():
            values = self._publication.values(key, self._decode(state))
            if values is not None:
                value = self._encode(self._publication.record, values)
                yield self._record(shard, key, value, values["position"])

    def tombstones(self, shard: int, keys: Iterable[str], position: int) -> Iterator[OutRecord]:
        """Records that take the keys off the topic."""
        for key in keys:
            yield self._record(shard, key, b"", position)

    def _record(self, shard: int, key: str, value: bytes, position: int) -> OutRecord:
        headers = [("position", str(position).encode())]
        return OutRecord(self._topic, shard % self._partitions, key.encode(), value, headers)
