"""What a relay does with an event, by its position alone: the fence of the topic. Pure.

Positions are contiguous and in commit order (invariant 1), so the next event to publish is the last one + 1. A lower
one is a repetition, a higher one shows that the WAL did not bring what lies between: the slot was lost, dropped, made
anew or moved on, by whomever. LSNs cannot tell that: rows of one transaction share one, and theirs are not monotonic.
"""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """NEXT: publish it. REPEATED: drop it, it was passed. GAP: publish what lies before it first, from the table."""

    NEXT = "next"
    REPEATED = "repeated"
    GAP = "gap"


NEXT, REPEATED, GAP = Verdict


def judge(last: int | None, position: int) -> Verdict:
    """Of the event at ``position`` when all up to ``last`` is passed; None: whatever comes first is the next one."""
    if last is None or position == last + 1:
        return NEXT
    return REPEATED if position <= last else GAP


def lacks(last: int | None, head: int) -> bool:
    """Whether something up to ``head`` has not been passed, though the WAL has been read beyond its commit."""
    return last is not None and head > last
