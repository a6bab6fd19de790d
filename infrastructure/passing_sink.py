"""A sink that is another one, but for what a subclass does besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from projections.ports import Fence, Parked, ShardWrite, Sink, Snapshot


class PassingSink:
    """``projections.ports.Sink``: every call is that of the sink within."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def apply(self, writes: Sequence[ShardWrite]) -> list[bool]:
        return self._sink.apply(writes)

    def fences(self, shards: Sequence[int]) -> list[Fence | None]:
        return self._sink.fences(shards)

    def load(self, keys: Mapping[int, Sequence[str]]) -> dict[int, dict[str, bytes]]:
        return self._sink.load(keys)

    def parked(self, shards: Sequence[int]) -> dict[int, dict[str, Parked]]:
        return self._sink.parked(shards)

    def reset(self, shard: int, expected: Fence | None, new: Fence) -> bool:
        return self._sink.reset(shard, expected, new)

    def beside(self) -> Sink:
        return self._sink.beside()

    def promote(self, shard: int, expected: Fence, refolded: Fence) -> bool:
        return self._sink.promote(shard, expected, refolded)

    def abandon(self, shards: Sequence[int]) -> None:
        self._sink.abandon(shards)

    def snapshot(self, shard: int) -> Snapshot:
        return self._sink.snapshot(shard)

    def drop(self) -> None:
        self._sink.drop()
