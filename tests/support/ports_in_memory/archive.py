"""The event store's past in memory (``projections.replay.archive.Archive``), and its state snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from projections.core.ports import LoggedEvent
from projections.core.snapshots import (
    MAX_STARTS,
    SNAPSHOT_INTERVAL,
    EventRange,
    ReplayStart,
    StateSnapshot,
    StoredSnapshot,
)
from projections.replay.archive import TimedEvent
from projections.replay.as_of import AsOf, Horizon, Unresolvable
from tests.support.ports_in_memory.projection_ports import MemoryLog


class MemoryArchive(MemoryLog):
    """Event times are as sent, in the records; ``recorded_ms`` never steps back, as in the store."""

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        super().__init__()
        self.first = 1
        """The first position of the log: earlier partitions were detached."""
        self._now_ms = now_ms
        self._clock_ms = 0
        self._times: list[tuple[int, int]] = []

    def append(
        self, key: str, event_type: str, data: Mapping[str, Any], *, recorded_ms: int | None = None
    ) -> LoggedEvent:
        event = super().append(key, event_type, data)
        self._clock_ms = max(self._clock_ms, self._now_ms() if recorded_ms is None else recorded_ms)
        self._times.append((data["event_timestamp_ms"], self._clock_ms))
        return event

    def damage(self, position: int) -> None:
        """Replace the payload at a position by one that cannot be decoded."""
        self.events[position - 1] = self.events[position - 1]._replace(payload=b"\xff")

    def detach(self, count: int) -> None:
        """Remove the first ``count`` positions, like the detachment of a partition."""
        self.first = count + 1

    def horizon(self, as_of: AsOf) -> Horizon:
        head = len(self.events)
        if as_of.axis == "known":
            assert as_of.at_ms is not None
            return Horizon(self.log_id, "known", self._known(as_of.at_ms), None, as_of.at_ms)
        position = head if as_of.position is None else as_of.position
        if not 0 <= position <= head:
            raise Unresolvable("unknown_position", f"the log has {head} positions")
        if as_of.axis == "event":
            assert as_of.at_ms is not None
            return Horizon(self.log_id, "event", position, as_of.at_ms, as_of.at_ms)
        if 0 < position < self.first:
            raise Unresolvable("log_begins_later", f"the log begins at {self.first}")
        return Horizon(self.log_id, "position", position, None, self._times[position - 1][1] if position else 0)

    def last_version(self, stream: str, key: str, position: int) -> int:
        if not any(e.key == key for e in self._left()):
            return 0
        return max((e.version for e in self.events if e.key == key and e.position <= position), default=0)

    def key_range(
        self, stream: str, key: str, after_version: int, upto_version: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        found = [e for e in self._left() if e.key == key and after_version < e.version <= upto_version]
        return self._sent_by(found, sent_by_ms)

    def shard_range(
        self, stream: str, shard: int, after_seq: int, upto_seq: int, sent_by_ms: int | None
    ) -> list[LoggedEvent]:
        found = [e for e in self._left() if e.shard == shard and after_seq < e.seq <= upto_seq]
        return self._sent_by(found, sent_by_ms)

    def walk(
        self, stream: str, keys: Sequence[str] | None, shard: int, position: int, *, by_event_time: bool
    ) -> Iterator[TimedEvent]:
        found = [
            TimedEvent(e, *self._times[e.position - 1])
            for e in self._left()
            if e.shard == shard and e.position <= position and (keys is None or e.key in keys)
        ]
        yield from sorted(
            found, key=lambda one: (one.event.key, one.event_ms if by_event_time else 0, one.event.version)
        )

    def event_ms(self, position: int) -> int:
        return self._times[position - 1][0]

    def recorded_ms(self, position: int) -> int:
        return self._times[position - 1][1]

    def holds(self, key: str, version: int, position: int, payload: bytes) -> bool:
        return any((e.key, e.version, e.position, e.payload) == (key, version, position, payload) for e in self.events)

    def _left(self) -> list[LoggedEvent]:
        return self.events[self.first - 1 :]

    def _sent_by(self, events: list[LoggedEvent], by_ms: int | None) -> list[LoggedEvent]:
        return [e for e in events if by_ms is None or self.event_ms(e.position) <= by_ms]

    def _known(self, at_ms: int) -> int:
        if self._clock_ms <= at_ms:
            if at_ms >= self._now_ms():
                raise Unresolvable("instant_in_future", "not known yet")
            self._clock_ms = at_ms + 1
        found = sum(recorded_ms <= at_ms for _, recorded_ms in self._times)
        if found < self.first and self.first > 1:
            raise Unresolvable("log_begins_later", f"the log begins at {self.first}")
        return found


class MemorySnapshots:
    """``projections.core.snapshots.StateSnapshots`` of ``log``, one at every ``every`` versions."""

    def __init__(self, log: MemoryArchive, every: int = SNAPSHOT_INTERVAL) -> None:
        self._log = log
        self._every = every
        self.kept: dict[tuple[str, int], StoredSnapshot] = {}

    def save(self, snapshots: Sequence[StateSnapshot], *, verified: bool) -> None:
        for one in snapshots:
            place = (one.key, one.position)
            if self._log.holds(one.key, one.version, one.position, one.payload) and (
                verified or place not in self.kept
            ):
                self.kept[place] = StoredSnapshot(one.version, one.position, one.state, verified)

    def latest(self, key: str, position: int, *, verified: bool = False) -> StoredSnapshot | None:
        found = [one for one in self._of(key, position) if one.verified or not verified]
        return found[-1] if found else None

    def at(self, key: str, position: int) -> StoredSnapshot | None:
        return self.kept.get((key, position))

    def starts(self, shard: int) -> list[ReplayStart]:
        last: dict[str, ReplayStart] = {}
        for event in self._log.events:
            kept = self.kept.get((event.key, event.position))
            if kept is not None and kept.verified and event.shard == shard and kept.version == event.version:
                last[event.key] = ReplayStart(event.key, event.seq, event.version, event.position, kept.state)
        return sorted(last.values(), key=lambda one: -one.version)[:MAX_STARTS]

    def decided(self, key: str, position: int, sent_by_ms: int, sent_after_ms: int | None = None) -> list[EventRange]:
        after_ms = sent_by_ms if sent_after_ms is None else sent_after_ms
        found: list[EventRange] = []
        for one in self._of(key, position):
            times = self._times(key, one.version)
            if max(times) > sent_by_ms and min(times) <= after_ms:
                continue
            this = EventRange(one.version - self._every, one.version, one.position, max(times) <= sent_by_ms)
            if found and (found[-1].upto, found[-1].happened) == (this.after, this.happened):
                this = this._replace(after=found.pop().after)
            found.append(this)
        return found

    def _of(self, key: str, position: int) -> list[StoredSnapshot]:
        return sorted(one for (of, _), one in self.kept.items() if of == key and one.position <= position)

    def _times(self, key: str, version: int) -> list[int]:
        return [
            self._log.event_ms(e.position)
            for e in self._log.events
            if e.key == key and version - self._every < e.version <= version
        ]
