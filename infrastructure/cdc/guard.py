"""What is to be done at the start of a relay, by what was left and what is found. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from infrastructure.cdc.marks import Mark
from infrastructure.cdc.slot import SlotState
from infrastructure.kafka.port import LastRecord

NO_ID = "00000000-0000-0000-0000-000000000000"
"""What brokers before Kafka 2.8 give as every topic's id."""


class Place(NamedTuple):
    """``position``: the mark to go on from, None if only the slot knows; ``words``: what happened, "" if nothing."""

    position: int | None
    words: str = ""


def place(mark: Mark | None, log_id: UUID, head: int) -> Place:
    """Where the topic stands in the log that is in the database now (invariant 14)."""
    if mark is None:
        return Place(None)
    if mark.log_id != log_id:
        return Place(0, f"the log {mark.log_id} was replaced by {log_id}: the topic goes on with the new one's start")
    if mark.position > head:
        return Place(
            head,
            f"the log ends at position {head}, before the mark {mark.position}: it was restored without its mark, "
            "and the topic goes on from its end",
        )
    return Place(mark.position)


def slot_fault(state: SlotState | None, mark: Mark | None, slot: str, head: int) -> str:
    """What befell the slot since it was left, "" if nothing. ``head``: the last position of the log.

    A slot that stands higher than was noted was made or moved by somebody else, and may miss events. Not so while the
    log has none that the mark does not cover: the driver tells the server of a stretch of WAL without events by itself,
    as in the last words of a server that is shut down, and nothing is noted of that.
    """
    if state is None:
        return f"replication slot {slot} is missing (dropped, or the database was restored)" if mark is not None else ""
    if state.is_lost:
        return f"replication slot {slot} lost its WAL ({state.invalidation_reason or 'max_slot_wal_keep_size'})"
    if mark is not None and mark.position < head and 0 < mark.confirmed_lsn < state.confirmed:
        return f"replication slot {slot} is not as it was left (made again, or moved on, by somebody else)"
    return ""


def must_be_made(state: SlotState | None) -> bool:
    return state is None or state.is_lost


def other_topics(mark: Mark | None, found: Mapping[str, str]) -> list[str]:
    """Topics that bear an id other than the one noted: deleted and made again, or of another broker."""
    known = mark.topics if mark is not None else {}
    return sorted(name for name, one in found.items() if known.get(name, one) != one)


def known_ids(found: Mapping[str, str]) -> dict[str, str]:
    """Without those that say nothing."""
    return {name: one for name, one in found.items() if one and one != NO_ID}


def beyond_this_log(last: Sequence[LastRecord], ids: Mapping[int, str], head: int) -> int | None:
    """The highest position of a record that is not of this log, None if all are.

    ``ids``: position -> event id of the log; one that is missing below ``head`` was detached, and is believed.
    """
    return max(
        (r.position for r in last if r.position > head or ids.get(r.position, r.event_id) != r.event_id), default=None
    )
