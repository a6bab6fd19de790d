"""Partial tables: integer sums that cross keys, kept by shard and merged over the shards when they are read. Pure.

A table has numbered slots, and a slot holds the sums of one bucket. A newer bucket replaces the content of the slot,
the same bucket is added, an older one is ignored. So a table depends on the set of its deltas alone, and neither on
their order nor on their batches (invariants 6 and 8).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping
from operator import add
from typing import NamedTuple

MAX_AMOUNT = 2**53 - 1
"""Bounds every sum: the scripts of Redis compute in doubles, which hold no larger integer exactly."""


class PartialDelta(NamedTuple):
    """What one event adds to one field of a slot. Permanent slots use bucket 0."""

    slot: int
    bucket: int
    field: str
    amounts: tuple[int, ...]


class PartialSlot(NamedTuple):
    """The content of a slot: the sums of one bucket by field. A field without a sum other than 0 is absent."""

    bucket: int
    sums: dict[str, tuple[int, ...]]


PartialTable = dict[int, PartialSlot]
"""Slot -> its content. A slot that no delta has reached is absent."""


class AmountTooLarge(ValueError):
    """A sum exceeds MAX_AMOUNT, or the amounts of a field changed in number."""


def collect(changes: PartialTable, deltas: Iterable[PartialDelta]) -> None:
    """Merge ``deltas`` into ``changes``, the pending changes of a table. Sums of 0 stay until ``apply_changes``."""
    for slot, bucket, field, amounts in deltas:
        held = changes.get(slot)
        if held is None or bucket > held.bucket:
            changes[slot] = PartialSlot(bucket, {field: amounts})
        elif bucket == held.bucket:
            sums = held.sums
            before = sums.get(field)
            sums[field] = amounts if before is None else _sum(before, amounts)


def apply_changes(table: PartialTable, changes: Mapping[int, PartialSlot]) -> None:
    """Apply collected changes to a table. Raises AmountTooLarge; then nothing of ``changes`` is applied."""
    new = {slot: _applied(table.get(slot), change) for slot, change in changes.items()}
    table.update(new)


def _applied(held: PartialSlot | None, change: PartialSlot) -> PartialSlot:
    if held is not None and change.bucket < held.bucket:
        return held
    sums = dict(held.sums) if held is not None and change.bucket == held.bucket else {}
    for field, amounts in change.sums.items():
        before = sums.get(field)
        after = amounts if before is None else _sum(before, amounts)
        if any(after):
            if max(after) > MAX_AMOUNT or min(after) < -MAX_AMOUNT:
                raise AmountTooLarge(f"the sum of {field} is outside ±{MAX_AMOUNT}")
            sums[field] = after
        else:
            sums.pop(field, None)
    return PartialSlot(change.bucket, sums)


def _sum(before: tuple[int, ...], amounts: tuple[int, ...]) -> tuple[int, ...]:
    if len(before) != len(amounts):
        raise AmountTooLarge(f"a field has {len(before)} amounts, and {len(amounts)} are added")
    return tuple(map(add, before, amounts))


def add_sums(sums: dict[str, tuple[int, ...]], added: Mapping[str, tuple[int, ...]]) -> None:
    """Add the sums of one slot to ``sums``. A field without a sum other than 0 is removed."""
    for field, amounts in added.items():
        before = sums.get(field)
        after = amounts if before is None else _sum(before, amounts)
        if any(after):
            sums[field] = after
        else:
            sums.pop(field, None)


def add_newest(
    sums: MutableMapping[int, dict[str, tuple[int, ...]]],
    buckets: MutableMapping[int, int],
    slot: int,
    added: PartialSlot,
) -> Collection[str]:
    """Add what one shard has in ``slot`` to the sums over all shards. Returns the fields that changed.

    Of a slot, the newest bucket of any shard counts (``buckets``). So the sums depend on the set of the deltas of all
    shards alone, as a table does on those of its shard. A permanent slot has one bucket.
    """
    held = buckets.get(slot)
    if held is not None and added.bucket < held:
        return ()
    if held == added.bucket:
        add_sums(sums.setdefault(slot, {}), added.sums)
        return added.sums.keys()
    replaced = sums.get(slot, {})
    buckets[slot], sums[slot] = added.bucket, {}
    add_sums(sums[slot], added.sums)
    return replaced.keys() | added.sums.keys()


def merge_slots(tables: Iterable[Mapping[int, PartialSlot]], slot: int, bucket: int) -> dict[str, tuple[int, ...]]:
    """The sums of one bucket over the tables of several shards. A slot that holds another bucket adds nothing."""
    sums: dict[str, tuple[int, ...]] = {}
    for table in tables:
        held = table.get(slot)
        if held is not None and held.bucket == bucket:
            add_sums(sums, held.sums)
    return sums
