"""Retries parked keys from their first failed event on, and encodes parked events for all stores (invariant 10)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from domain.identifiers import shard_of
from projections.core.fold import Decode, Fold, FoldedShard
from projections.core.ports import (
    ApplyOutcome,
    EventLog,
    Fence,
    FenceConflict,
    LoggedEvent,
    ParkedEvent,
    ShardWrite,
    Sink,
    SinkRejected,
)
from projections.core.projection import Projection
from projections.core.state_codec import read_state

MAX_FENCE_CONFLICTS = 200
"""Attempts at one part. A retry races with the worker of the shard, which moves its fence with every batch; an attempt
takes milliseconds."""
MAX_EVENTS_PER_ATTEMPT = 1_000
"""Bounds memory and the time of an attempt: a longer one would lose every race for the fence."""

DETACHED = "its events are not in the log: attach the detached partition that has this position, then retry"


class RetryOutcome(NamedTuple):
    """``unparked``: all events of the key are folded. ``still``: it fails at ``parked``. ``none``: it is not parked.

    ``part``: some events are folded, and the key is parked at the next one.
    """

    verdict: Literal["unparked", "still", "none", "part"]
    events: int = 0
    parked: ParkedEvent | None = None


class ParkedKeys:
    """Retries parked keys of one generation, concurrently with the worker that follows it."""

    def __init__(
        self, projection: Projection[Any], sink: Sink, log: EventLog, decode: Decode, now_ms: Callable[[], int]
    ) -> None:
        self._projection = projection
        self._sink = sink
        self._log = log
        self._fold = Fold(projection, decode, now_ms)

    def retry(self, key: str) -> RetryOutcome:
        """Fold the events of ``key`` from its parked event up to the fence of its shard, and unpark it.

        State, parked event and fence change by one compare-and-set under a new incarnation. The worker skips a parked
        key; after a retry its next compare-and-set fails, it reloads the shard and resumes the key. A long history is
        folded in parts, each of which is stored. A part that the sink rejects is halved until one event is left: the
        key is then parked at that event. Raises FenceConflict if the fence moved at every attempt at one part.
        """
        folded, conflicts = 0, 0
        suspects = 0  # number of next events of the key, one of which the sink rejects
        while conflicts < MAX_FENCE_CONFLICTS:
            try:
                done = self._attempt(key, max(1, suspects // 2) if suspects else MAX_EVENTS_PER_ATTEMPT)
            except _PartRejected as rejected:
                suspects = rejected.events
                continue
            if done is None:
                conflicts += 1
                continue
            folded, conflicts, suspects = folded + done.events, 0, max(0, suspects - done.events)
            if done.verdict != "part":
                return done._replace(events=folded)
        raise FenceConflict(f"the fence of {key}'s shard moved in all {MAX_FENCE_CONFLICTS} attempts; try again")

    def _attempt(self, key: str, max_events: int) -> RetryOutcome | None:
        """Fold ``max_events`` events. None after a fence conflict.

        Raises _PartRejected if the sink rejects the result of more than one event.
        """
        shard = shard_of(key)
        fence = self._sink.fences([shard])[0]
        parked = self._sink.parked([shard]).get(shard, {}).get(key)
        if fence is None or parked is None:
            return RetryOutcome("none")
        stored = self._sink.load({shard: [key]}).get(shard, {}).get(key)
        old = None if stored is None else read_state(self._projection, key, stored)
        events = self._log.read_key(self._projection.stream, key, parked.version, fence.seq, max_events + 1)
        if not events or events[0].version != parked.version:
            # Without its first events the state would be wrong, and the key would pass for repaired.
            return RetryOutcome("still", 0, parked._replace(reason=DETACHED))
        discarded = self._log.discarded(self._projection.name)
        part, following = events[:max_events], events[max_events:]
        new_fence = fence._replace(incarnation=uuid4().hex)
        try:
            done = self._fold.run(part, lambda _: old, (), discarded)
            failed = done.parked.get(key)
            left = failed or (_parked_at(parked, following[0]) if following else None)
            won = self._write(shard, fence, new_fence, key, done, left)
        except SinkRejected as error:
            if len(part) > 1:
                raise _PartRejected(len(part)) from error
            failed = self._fold.rejected(part[0], error)
            won = self._write(shard, fence, new_fence, key, None, failed)
        if not won:
            return None
        if failed is not None:
            return RetryOutcome("still", sum(event.version < failed.version for event in part), failed)
        return RetryOutcome("part" if following else "unparked", len(part))

    def _write(
        self, shard: int, fence: Fence, new: Fence, key: str, done: FoldedShard[Any] | None, parked: ParkedEvent | None
    ) -> bool:
        write = ShardWrite(shard, fence, new, {}, parked={key: parked})
        if done is not None:
            write = write._replace(
                states=done.encoded, rows=done.rows, snapshots=done.snapshots, partials=done.partials
            )
        return self._sink.apply([write]) == [ApplyOutcome.APPLIED]


class _PartRejected(Exception):
    """The sink rejects the result of these ``events``."""

    def __init__(self, events: int) -> None:
        super().__init__(f"the sink rejects the result of {events} events")
        self.events = events


def _parked_at(parked: ParkedEvent, event: LoggedEvent) -> ParkedEvent:
    """The parked event of a key that is folded up to ``event``; it remains if the retry is aborted here."""
    reason = "folded up to here by a retry that was aborted: run `parked retry` to continue"
    return parked._replace(
        seq=event.seq, position=event.position, version=event.version, event_type=event.event_type, reason=reason
    )


MAX_ERROR_CHARS = 200


def encode_parked_event(parked: ParkedEvent) -> str:
    """A parked event as JSON, the same in every store."""
    return json.dumps(parked._asdict(), separators=(",", ":"))


def decode_parked_event(text: str | bytes) -> ParkedEvent:
    """Raises SinkRejected for any other text: one damaged entry must not end the process of all projections."""
    try:
        return ParkedEvent(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise SinkRejected(f"a stored parked event cannot be read: {str(error)[:MAX_ERROR_CHARS]}") from error
