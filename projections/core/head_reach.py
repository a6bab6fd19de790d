"""How far the log reaches: no record is applied whose numbers lie beyond the head (invariant 16).

A record with position = head + 1 and a fitting seq would pass for the next event of its shard, and one for each shard
would spoil them all. A true record is recorded before it is published. So the head is read again whenever a record
lies beyond the head as it was last read, once a poll at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.identifiers import SHARDS
from projections.core.ports import EventLog, LoggedEvent, LogHead

MAX_EARLY = 1_000
"""Records that are remembered until the head reaches them; the rest of a flood is taken for foreign at once."""
IDLE_CHECKS = 2
"""So many idle checks (some seconds) after it came, a record that still lies beyond the head is foreign."""


_NONE = (0,) * SHARDS


class _EarlyRecords(NamedTuple):
    event: LoggedEvent
    since: int


class ReachResult(NamedTuple):
    """``due``: shards to be filled from the log up to these seqs; ``foreign``: records that are not of this log."""

    due: Mapping[int, int]
    foreign: int


class HeadReach:
    """Of one stream. Raises PortUnavailable.

    Postgres may hand a commit to logical decoding an instant before others see it, so a record beyond the head is not
    foreign yet. It is never applied either: once the head has reached it, its shard is filled from the log.
    """

    def __init__(self, log: EventLog, stream: str) -> None:
        self._log = log
        self._stream = stream
        self._position = 0
        self._seqs: Sequence[int] = _NONE
        self._fresh = False
        self._early: list[_EarlyRecords] = []
        self._idle_checks = 0

    def forget(self) -> None:
        self._position, self._seqs = 0, _NONE
        self._fresh = False
        self._early.clear()

    def seen(self, head: LogHead) -> None:
        """A head that was read for another purpose, by an idle check."""
        self._position, self._seqs = head.position, head.seqs
        self._idle_checks += 1

    def polled(self) -> None:
        """What follows was polled just now: the head may be read once for it."""
        self._fresh = False

    def holds(self, event: LoggedEvent) -> bool:
        """Whether the log reaches ``event``; if not, ``reached`` says later what became of it."""
        if event.position <= self._position and event.seq <= self._seqs[event.shard]:
            return True
        if not self._fresh:
            self._read()
            if self._within(event):
                return True
        if len(self._early) < MAX_EARLY:
            self._early.append(_EarlyRecords(event, self._idle_checks))
            return False
        raise BeyondHead(f"position {event.position} lies beyond the log, and {MAX_EARLY} others do")

    def reached(self) -> ReachResult:
        """What became of the records that came too early."""
        if not self._early:
            return ReachResult({}, 0)
        if not self._fresh:
            self._read()
        arrived = [one.event for one in self._early if self._within(one.event)]
        waiting = [one for one in self._early if not self._within(one.event)]
        self._early = [one for one in waiting if self._idle_checks - one.since < IDLE_CHECKS]
        due: dict[int, int] = defaultdict(int)
        for event in arrived:
            due[event.shard] = self._seqs[event.shard]
        return ReachResult(due, len(waiting) - len(self._early) + self._not_in_the_log(arrived))

    def _not_in_the_log(self, events: Sequence[LoggedEvent]) -> int:
        found = self._log.events_at([event.position for event in events]) if events else {}
        return sum(found.get(event.position) != event for event in events)

    def _read(self) -> None:
        head = self._log.head(self._stream)
        self._position, self._seqs = head.position, head.seqs
        self._fresh = True

    def _within(self, event: LoggedEvent) -> bool:
        return event.position <= self._position and event.seq <= self._seqs[event.shard]


class BeyondHead(Exception):
    """A record that lies beyond the log, one of so many that it is not remembered."""
