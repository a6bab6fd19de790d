"""Reads partial tables: the port of a reader that follows all shards of one generation, and its copy of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from domain.features.partials import PartialSlot, PartialTable
from projections.core.ports import Fence


class ShardPartials(NamedTuple):
    """The slots of a shard that changed since the reader's last fence, with the fence of the same instant.

    ``whole``: the shard was not only folded on since (``Fence.incarnation``), so ``changed`` is its whole table.
    """

    fence: Fence | None
    changed: PartialTable
    whole: bool


class PartialReader(Protocol):
    """Reads the partial tables of one generation."""

    def read(self, shards: Sequence[int], known: Mapping[int, Fence]) -> dict[int, ShardPartials]:
        """Fence and changed slots of each shard, of one instant a shard. ``known``: the fences of the last read.

        Raises PortUnavailable; SinkRejected for stored content that is no partial table.
        """
        ...


class PartialCopy:
    """The partial tables of all shards as of ``fences``, kept up to date by reading changed slots only."""

    def __init__(self) -> None:
        self.fences: dict[int, Fence] = {}
        self.tables: dict[int, PartialTable] = {}

    def update(self, reader: PartialReader, shards: Sequence[int]) -> None:
        """Read what has changed. Raises PortUnavailable, SinkRejected; then the copy is unchanged."""
        for shard, found in reader.read(shards, self.fences).items():
            if found.fence is None:
                self.fences.pop(shard, None)
                self.tables.pop(shard, None)
                continue
            self.fences[shard] = found.fence
            if found.whole:
                self.tables[shard] = found.changed
            elif found.changed:
                self.tables.setdefault(shard, {}).update(found.changed)


def folded_on(known: Fence | None, fence: Fence) -> bool:
    """Whether a shard at ``known`` has reached ``fence`` by folding its next events alone."""
    if known is None:
        return False
    return (known.log_id, known.incarnation) == (fence.log_id, fence.incarnation) and known.seq <= fence.seq


def dump_rows(table: Mapping[int, PartialSlot]) -> Iterator[tuple[str, bytes]]:
    """The rows of a partial table in a ShardDump: one a slot, with its bucket, and one a field."""
    for slot, (bucket, sums) in sorted(table.items()):
        yield f"partials {slot}", str(bucket).encode()
        for field, amounts in sorted(sums.items()):
            yield f"partials {slot} {field}", " ".join(map(str, (bucket, *amounts))).encode()
