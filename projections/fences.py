"""The rule of the fence: a record is applied only if its seq is the next one (invariant 4). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from projections.ports import Fence, LoggedEvent


class Trust(Enum):
    """How a stored fence stands to the log as it is now."""

    NEW = "the sink has nothing of this shard"
    GOOD = "the fence lies on this log"
    FOREIGN = "the fence belongs to another log"
    AHEAD = "the fence lies beyond the head: the log was restored to an older state"


def judge(fence: Fence | None, log_id: UUID, head_seq: int) -> Trust:
    """``head_seq`` must have been read after the fence, or a fence that moved meanwhile looks ahead."""
    if fence is None:
        return Trust.NEW
    if fence.log_id != str(log_id):
        return Trust.FOREIGN
    return Trust.AHEAD if fence.seq > head_seq else Trust.GOOD


class Sorted(NamedTuple):
    """``ready`` can be applied at once; ``gap`` is the first record that cannot, ``rest`` what follows it."""

    ready: Sequence[LoggedEvent]
    duplicates: int
    gap: LoggedEvent | None
    rest: Sequence[LoggedEvent]


def sort_out(applied_seq: int, events: Sequence[LoggedEvent]) -> Sorted:
    """Walk records of one shard in the order they came, up to the first hole."""
    ready: list[LoggedEvent] = []
    duplicates = 0
    for index, event in enumerate(events):
        if event.seq <= applied_seq:
            duplicates += 1
        elif event.seq == applied_seq + 1:
            ready.append(event)
            applied_seq += 1
        else:
            return Sorted(ready, duplicates, event, events[index + 1 :])
    return Sorted(ready, duplicates, None, ())
