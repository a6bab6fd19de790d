"""How Redis stores a partial table: a hash of its slots, for each slot a hash of its sums as text, and its changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from domain.features.partials import PartialSlot, PartialTable
from projections.core.ports import SinkRejected

FIRST_SLOT_KEY = 6
"""Index in KEYS of ``apply.lua`` of the first hash of a slot."""
COMPLETE_FROM = b""
"""The field of the slots with the seq from which on the stored changes are complete, and the bytes of all of them."""
_SLOT_WORDS = 4
"""Words of a slot in ``apply.lua`` before its fields: index of its key, slot, bucket, number of fields."""


def slot_arguments(slots: Iterable[int], partials: Mapping[int, PartialSlot]) -> list[Any]:
    """The changed slots as ``apply.lua`` reads them; ``slots`` are those whose keys it gets, in this order."""
    arguments: list[Any] = []
    for number, slot in enumerate(slots, FIRST_SLOT_KEY):
        if (change := partials.get(slot)) is None:
            continue
        # A field that stays as it is costs nothing; the slot itself still moves to the bucket.
        sums = [(field, amounts) for field, amounts in change.sums.items() if any(amounts)]
        arguments += (number, slot, change.bucket, len(sums))
        for field, amounts in sums:
            arguments += (field, " ".join(map(str, amounts)))
    return arguments


def decode_changes(stored: bytes) -> PartialTable:
    """The changes of one write, as ``slot_arguments`` were given. Raises SinkRejected."""
    try:
        words = stored.decode().split("\n")[1:]
        changes: PartialTable = {}
        at = 0
        while at < len(words) and words != [""]:
            slot, bucket, fields = int(words[at + 1]), int(words[at + 2]), int(words[at + 3])
            if fields < 0:
                raise ValueError(f"a slot of {fields} fields")
            first, at = at + _SLOT_WORDS, at + _SLOT_WORDS + 2 * fields
            sums = {words[place]: _amounts(words[place + 1]) for place in range(first, at, 2)}
            changes[slot] = PartialSlot(bucket, sums)
    except (ValueError, IndexError) as error:
        raise SinkRejected(f"a stored change of a partial table cannot be read: {error}") from error
    return changes


def decode_table(slots: Mapping[bytes, bytes], *hashes: Mapping[bytes, bytes]) -> PartialTable:
    """The whole table. The hash of a slot that ``slots`` does not name has no meaning. Raises SinkRejected."""
    try:
        buckets = {int(slot): int(bucket) for slot, bucket in slots.items() if slot != COMPLETE_FROM}
        stored = dict(enumerate(hashes))
        return {slot: PartialSlot(bucket, _sums(stored[slot])) for slot, bucket in buckets.items()}
    except (ValueError, LookupError) as error:
        raise SinkRejected(f"a stored partial table cannot be read: {error}") from error


def _sums(stored: Mapping[bytes, bytes]) -> dict[str, tuple[int, ...]]:
    return {name.decode(): _amounts(sums) for name, sums in stored.items()}


def _amounts(text: str | bytes) -> tuple[int, ...]:
    return tuple(map(int, text.split()))
