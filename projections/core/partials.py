"""Reads partial tables: the port of a reader that follows all shards of one generation, and the merge over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from domain.features.partials import PartialSlot, PartialTable, add_newest, apply_changes
from projections.core.ports import Fence


class ShardPartials(NamedTuple):
    """What changed in a shard's table since the reader's last fence, with the fence of the same instant.

    ``changes`` are applied in their order (``apply_changes``). ``whole``: they are the whole table, because the shard
    was not only folded on (``Fence.incarnation``), or the reader was too far behind. ``parked``: the positions of the
    events at which keys of the shard are parked; their later events are in no sum.
    """

    fence: Fence | None
    changes: Sequence[PartialTable]
    whole: bool
    parked: frozenset[int] = frozenset()


class PartialReader(Protocol):
    """Reads the partial tables of one generation."""

    def read(self, shards: Sequence[int], known: Mapping[int, Fence]) -> dict[int, ShardPartials]:
        """What changed in each of ``shards``, of one instant a shard; a shard without a change is absent.

        ``known``: the fences of the last read. Raises PortUnavailable; SinkRejected for stored content that is no
        partial table.
        """
        ...


class MergedPartials:
    """The partial tables of some shards as of ``fences``, kept up to date by reading changes only.

    ``permanent`` has the sums over all shards of the permanent slots: a copy by shard would be many times as large.
    The others are in ``rings`` by shard, because they are replaced shard by shard. A slot of hours or days may count
    as permanent too: then the newest bucket that any shard has replaces the sums of all shards (``buckets``).
    """

    def __init__(self, permanent_slots: Collection[int]) -> None:
        self._slots = permanent_slots
        self.fences: dict[int, Fence] = {}
        self.parked: dict[int, frozenset[int]] = {}
        self.rings: dict[int, PartialTable] = {}
        self.permanent: dict[int, dict[str, tuple[int, ...]]] = defaultdict(dict)
        self.buckets: dict[int, int] = {}
        self.changed: dict[int, set[str]] = defaultdict(set)
        """The fields of permanent slots that changed since the caller last cleared this."""

    def update(self, reader: PartialReader, shards: Sequence[int]) -> None:
        """Read what has changed in ``shards``, the only ones that count. Raises PortUnavailable, SinkRejected."""
        left = self.fences.keys() - set(shards)
        found = {} if left else reader.read(shards, self.fences)
        if left or any(self.fences.get(shard) is not None and one.whole for shard, one in found.items()):
            # The part of that shard in the sums is not known, so all of them are read again.
            found = reader.read(shards, {})
            self._clear()
        for shard, one in found.items():
            if one.fence is not None:
                self.fences[shard] = one.fence
                self.parked[shard] = one.parked
                for changes in one.changes:
                    self.apply(shard, changes)

    def _clear(self) -> None:
        for slot, sums in self.permanent.items():
            self.changed[slot].update(sums)
        for kept in (self.fences, self.parked, self.rings, self.permanent, self.buckets):
            kept.clear()

    def apply(self, shard: int, changes: Mapping[int, PartialSlot]) -> None:
        """Apply collected changes of one shard. Raises AmountTooLarge."""
        ring = {slot: change for slot, change in changes.items() if slot not in self._slots}
        if ring:
            apply_changes(self.rings.setdefault(shard, {}), ring)
        for slot in changes.keys() - ring.keys():
            self.changed[slot].update(add_newest(self.permanent, self.buckets, slot, changes[slot]))


def folded_on(known: Fence, fence: Fence) -> bool:
    """Whether a shard at ``known`` has reached ``fence`` by folding its next events alone."""
    return (known.log_id, known.incarnation) == (fence.log_id, fence.incarnation) and known.seq <= fence.seq


def dump_rows(table: Mapping[int, PartialSlot]) -> Iterator[tuple[str, bytes]]:
    """The rows of a partial table in a ShardDump: one a slot, with its bucket, and one a field."""
    for slot, (bucket, sums) in sorted(table.items()):
        yield f"partials {slot}", str(bucket).encode()
        for field, amounts in sorted(sums.items()):
            yield f"partials {slot} {field}", " ".join(map(str, (bucket, *amounts))).encode()
