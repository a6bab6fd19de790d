"""How Redis stores a partial table: a hash of its slots, and for each slot a hash of its sums as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from domain.features.partials import PartialSlot
from projections.core.ports import SinkRejected

FIRST_SLOT_KEY = 5
"""Index in KEYS of ``apply.lua`` of the first hash of a slot."""
SHOWN_BYTES = 100


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


def decode_slots(stored: Mapping[bytes, bytes]) -> dict[int, tuple[int, int]]:
    """Slot -> bucket and seq of its last change. Raises SinkRejected."""
    try:
        return {int(slot): _head(value) for slot, value in stored.items()}
    except ValueError as error:
        raise SinkRejected(f"the stored slots of a partial table cannot be read: {error}") from error


def decode_slot(bucket: int, stored: Mapping[bytes, bytes]) -> PartialSlot:
    """The content of a slot of ``bucket``. Raises SinkRejected."""
    try:
        return PartialSlot(bucket, {name.decode(): tuple(map(int, sums.split())) for name, sums in stored.items()})
    except ValueError as error:
        raise SinkRejected(f"a stored slot of a partial table cannot be read: {error}") from error


def _head(value: bytes) -> tuple[int, int]:
    bucket, seq = value[:SHOWN_BYTES].split(b" ")
    return int(bucket), int(seq)
