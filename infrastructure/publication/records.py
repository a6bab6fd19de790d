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
            values = self._values(key, state)
            if values is not None:
                value = self._encode(self._publication.record, values)
                yield self._record(shard, key, value, values["position"])

    def tombstones(self, shard: int, keys: Iterable[str], position: int) -> Iterator[OutRecord]:
        """Records that take the keys off the topic."""
        for key in keys:
            yield self._record(shard, key, b"", position)

    def replacing(self, shard: int, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[OutRecord]:
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

    def _record(self, shard: int, key: str, value: bytes, position: int) -> OutRecord:
        headers = [("position", str(position).encode())]
        return OutRecord(self._topic, shard % self._partitions, key.encode(), value, headers)
