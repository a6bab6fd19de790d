"""Applies no record whose position or seq is beyond the head of the log (invariant 16).

A forged record with position = head + 1 and a matching seq would be taken for the next event of its shard; one record
per shard would corrupt all of them. A true record is in the log before it is published. So the head is read again
whenever a record is beyond the last known head, at most once per poll.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.identifiers import SHARDS
from projections.core.ports import EventLog, LoggedEvent, LogHead

MAX_EARLY = 1_000
"""Early records that are remembered until the head reaches them. Any further one counts as foreign at once, so that a
flood cannot fill the memory."""
IDLE_CHECKS = 2
"""After so many idle checks (a few seconds), a record that is still beyond the head is foreign."""


_NONE = (0,) * SHARDS


class _EarlyRecord(NamedTuple):
    """A record beyond the head; ``since``: number of idle checks before it was polled."""

    event: LoggedEvent
    since: int


class ReachResult(NamedTuple):
    """``due``: shards to fill from the log -> up to which seq. ``foreign``: number of records not in the log."""

    due: Mapping[int, int]
    foreign: int


class HeadReach:
    """Compares records of one stream with the head of the log. Raises PortUnavailable.

    Postgres may pass a commit to logical decoding just before other sessions see it, so a record beyond the head is not
    foreign yet. It is never applied either: once the head has reached it, its shard is filled from the log.
    """

    def __init__(self, log: EventLog, stream: str) -> None:
        self._log = log
        self._stream = stream
        self._position = 0
        self._seqs: Sequence[int] = _NONE
        self._fresh = False
        self._early: list[_EarlyRecord] = []
        self._idle_checks = 0

    def forget(self) -> None:
        """Discard the known head and the early records."""
        self._position, self._seqs = 0, _NONE
        self._fresh = False
        self._early.clear()

    def on_idle_check(self, head: LogHead) -> None:
        """Use the head that an idle check has read, and count the check."""
        self._position, self._seqs = head.position, head.seqs
        self._idle_checks += 1

    def on_poll(self) -> None:
        """Records were polled: the head may be read once for them."""
        self._fresh = False

    def holds(self, event: LoggedEvent) -> bool:
        """Whether the log includes ``event``. If not, it is remembered, and ``reached`` reports on it later.

        Raises BeyondHead if too many records are remembered already.
        """
        if event.position <= self._position and event.seq <= self._seqs[event.shard]:
            return True
        if not self._fresh:
            self._read()
            if self._within(event):
                return True
        if len(self._early) < MAX_EARLY:
            self._early.append(_EarlyRecord(event, self._idle_checks))
            return False
        raise BeyondHead(f"position {event.position} is beyond the head of the log, like {MAX_EARLY} other records")

    def reached(self) -> ReachResult:
        """Check the early records again: which shards to fill, and how many records are foreign."""
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
    """A record beyond the head of the log that is not remembered, because too many are already."""
