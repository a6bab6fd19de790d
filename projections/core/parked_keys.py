"""Parked keys: folding on from where a key was held back, and passing over an event for good (invariant 10)."""

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

TRIES = 200
"""A retry races with the worker of the shard, which moves its fence with every batch; each try takes milliseconds."""
EVENTS_A_TRY = 1_000
"""However long a key has been parked: more at once would lose every race, and fill the memory."""


class RetryOutcome(NamedTuple):
    """``unparked``: all of the key's events are folded. ``still``: it fails, at ``mark``. ``none``: not parked.

    ``part``: some are folded, and the mark stands at the next one.
    """

    verdict: Literal["unparked", "still", "none", "part"]
    events: int = 0
    mark: ParkedEvent | None = None


class ParkedKeys:
    """Works on one generation, beside the worker that keeps it up to date."""

    def __init__(
        self, projection: Projection[Any], sink: Sink, log: EventLog, decode: Decode, now_ms: Callable[[], int]
    ) -> None:
        self._projection = projection
        self._sink = sink
        self._log = log
        self._fold = Fold(projection, decode, now_ms)

    def retry(self, key: str) -> RetryOutcome:
        """Fold what the log has of ``key`` from its parked event up to the shard's fence, and take the mark off.

        State, mark and fence change by one compare-and-set under a new incarnation: the worker, which passes the key
        over as long as it believes it parked, loses its next one, reads anew and folds the key on from there. A long
        history is folded part by part, and what is folded stays so. A part that the sink refuses is halved until it is
        one event: there the key is held back now. Raises FenceConflict if the fence moved in each try
        at one part.
        """
        folded, lost = 0, 0
        suspects = 0  # so many events, the next ones of the key, have the refused one among them
        while lost < TRIES:
            try:
                done = self._once(key, max(1, suspects // 2) if suspects else EVENTS_A_TRY)
            except _PartRejected as refused:
                suspects = refused.events
                continue
            if done is None:
                lost += 1
                continue
            folded, lost, suspects = folded + done.events, 0, max(0, suspects - done.events)
            if done.verdict != "part":
                return done._replace(events=folded)
        raise FenceConflict(f"the fence of {key}'s shard moved at every one of {TRIES} tries; try again")

    def _once(self, key: str, most: int) -> RetryOutcome | None:
        """Fold ``most`` events; None for a race that was lost. Raises _PartRejected for more than one of them."""
        shard = shard_of(key)
        fence = self._sink.fences([shard])[0]
        mark = self._sink.parked([shard]).get(shard, {}).get(key)
        if fence is None or mark is None:
            return RetryOutcome("none")
        stored = self._sink.load({shard: [key]}).get(shard, {}).get(key)
        old = None if stored is None else read_state(self._projection, key, stored)
        events = self._log.read_key(self._projection.stream, key, mark.version, fence.seq, most + 1)
        discarded = self._log.discarded(self._projection.name)
        part, following = events[:most], events[most:]
        new_fence = fence._replace(incarnation=uuid4().hex)
        try:
            done = self._fold.run(part, lambda _: old, (), discarded)
            failed = done.parked.get(key)
            left = failed or (_moved(mark, following[0]) if following else None)
            won = self._write(shard, fence, new_fence, key, done, left)
        except SinkRejected as error:
            if len(part) > 1:
                raise _PartRejected(len(part)) from error
            failed = self._fold.refused(part[0], error)
            won = self._write(shard, fence, new_fence, key, None, failed)
        if not won:
            return None
        if failed is not None:
            return RetryOutcome("still", sum(event.version < failed.version for event in part), failed)
        return RetryOutcome("part" if following else "unparked", len(part))

    def _write(
        self, shard: int, fence: Fence, new: Fence, key: str, done: FoldedShard[Any] | None, mark: ParkedEvent | None
    ) -> bool:
        write = ShardWrite(shard, fence, new, {}, parked={key: mark})
        if done is not None:
            write = write._replace(states=done.encoded, rows=done.rows, checkpoints=done.checkpoints)
        return self._sink.apply([write]) == [ApplyOutcome.APPLIED]


class _PartRejected(Exception):
    """The sink refuses what these ``events`` come to."""

    def __init__(self, events: int) -> None:
        super().__init__(f"{events} events are refused together")
        self.events = events


def _moved(mark: ParkedEvent, event: LoggedEvent) -> ParkedEvent:
    """The mark of a key that is folded up to ``event``, for whoever finds it when the retry was broken off here."""
    reason = "folded up to here by a retry that was broken off: `parked retry` goes on"
    return mark._replace(
        seq=event.seq, position=event.position, version=event.version, event_type=event.event_type, reason=reason
    )


MAX_ERROR_CHARS = 200


def encode_parked_event(parked: ParkedEvent) -> str:
    return json.dumps(parked._asdict(), separators=(",", ":"))


def decode_parked_event(text: str | bytes) -> ParkedEvent:
    """Raises Refused for a text that is no mark: one damaged mark must not end the process of all projections."""
    try:
        return ParkedEvent(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise SinkRejected(f"the stored mark of a parked key cannot be read: {str(error)[:MAX_ERROR_CHARS]}") from error
