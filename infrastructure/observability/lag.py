"""How late each stage is, in seconds: since when the oldest event waits that it has not passed.

Freshness is often taken as now − the newest event that was passed; but then a fleet that sleeps looks late, and a
stage that skips looks fresh. What waits, and since when, tells "this rider is silent" from "the pipeline is late".
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, text

from domain.events.contracts import UndecodableError
from domain.features.event_time import effective_time_ms

_OF_POSITION = text(
    "SELECT extract(epoch FROM clock_timestamp() - recorded_at), position FROM events WHERE position = :position + 1"
)
_OF_SHARDS = text(
    "SELECT extract(epoch FROM clock_timestamp() - min(e.recorded_at)), min(e.position)"
    " FROM unnest(CAST(:shards AS smallint[]), CAST(:seqs AS bigint[])) AS u(shard, seq)"
    " JOIN events e ON e.stream = :stream AND e.shard = u.shard AND e.seq = u.seq"
    # Not needed for the answer: it spares the partitions of the past, each of which has an index of its own.
    " WHERE e.position > :above"
)
_LATEST = text(
    "SELECT payload, extract(epoch FROM recorded_at) * 1000, extract(epoch FROM event_time) * 1000,"
    " recorded_at > clock_timestamp() + interval '2 seconds' FROM events"
    " WHERE position > :after AND event_type = 'GpsPing'"
)
MAX_SEEN_HEADS = 3_600
"""Heads that a watch remembers: an hour of one look a second. A longer wait counts from the oldest of them."""
CLOCK_TOLERANCE_S = 2.0
"""How far two clocks of one installation may differ, in seconds, before a time is called wrong."""
LATEST = 500
"""Events at the head of the log by which the stages before the commit are judged."""


class AppliedPositions(Protocol):
    """How far a shard is applied: a ``Fence``."""

    @property
    def seq(self) -> int: ...

    @property
    def position(self) -> int: ...


class HeadWatch:
    """When this process first saw the log reach each position, by its own monotonic clock.

    A time of recording that is ahead of the database's clock tells no delay, and would hide every one. How long this
    process has seen an event in the log is never negative, and never more than the event waits.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds, monotonic."""
        self._clock = clock
        self._seen: deque[tuple[int, float]] = deque(maxlen=MAX_SEEN_HEADS)

    def saw(self, head: int) -> None:
        """The log ends at position ``head`` now."""
        if self._seen and head < self._seen[-1][0]:
            self._seen.clear()  # restored to an older state: the positions are given to other events
        if not self._seen or head > self._seen[-1][0]:
            self._seen.append((head, self._clock()))

    def waits_s(self, position: int) -> float:
        """Seconds since the event at ``position`` was first seen in the log; 0 if it was not."""
        at = bisect_left(self._seen, position, key=lambda seen: seen[0])
        return max(0.0, self._clock() - self._seen[at][1]) if at < len(self._seen) else 0.0


def delay_of_position(connection: Connection, position: int, watch: HeadWatch | None = None) -> float | None:
    """Seconds that the first event behind ``position`` waits; 0 if there is none, None if no clock can say."""
    return _delay(connection.execute(_OF_POSITION, {"position": position}).one_or_none(), watch)


def delay_of_shards(
    connection: Connection,
    stream: str,
    applied: Mapping[int, AppliedPositions],
    head: Sequence[int],
    watch: HeadWatch | None = None,
) -> float | None:
    """Seconds that the oldest event waits which is not applied; by shard, as ``head``, the last seqs.

    None if no clock can say: the event is recorded in the future of the database, and ``watch`` is not given.
    """
    behind = {shard: at for shard, at in applied.items() if at.seq < head[shard]}
    if not behind:
        return 0.0
    values = {
        "stream": stream,
        "shards": list(behind),
        "seqs": [at.seq + 1 for at in behind.values()],
        "above": min(at.position for at in behind.values()),
    }
    return _delay(connection.execute(_OF_SHARDS, values).one_or_none(), watch)


def _delay(waiting: Sequence[Any] | None, watch: HeadWatch | None) -> float | None:
    """``waiting``: the oldest event, as seconds by the database's clock and its position."""
    if waiting is None or waiting[0] is None:
        return 0.0
    seconds = float(waiting[0])
    if watch is not None:
        return max(0.0, seconds, watch.waits_s(waiting[1]))
    return None if seconds < -CLOCK_TOLERANCE_S else max(0.0, seconds)


class DelaySpread(NamedTuple):
    """Of the latest pings, in seconds."""

    median: float
    worst: float


class IngestDelays(NamedTuple):
    """The stages before the log has an event: on the phone and its network, and in ingest.

    None of pings that were recorded without their time of reception. ``newest_ms``: when the newest of these pings
    happened, epoch milliseconds.
    """

    device: DelaySpread | None
    ingest: DelaySpread | None
    newest_ms: int


def ingest_delays(
    connection: Connection, head: int, decode: Callable[[bytes], Mapping[str, Any]]
) -> IngestDelays | None:
    """Device → ingest by the times that the pings carry, ingest → commit by when they were recorded; None: no ping."""
    device: list[float] = []
    ingest: list[float] = []
    newest_ms: int | None = None
    for payload, recorded_ms, event_ms, is_ahead in connection.execute(_LATEST, {"after": head - LATEST}):
        try:
            received_ms = decode(bytes(payload)).get("received_timestamp_ms", 0)
        except UndecodableError:
            received_ms = 0  # it is parked where it is folded; here it only has no time of reception
        times = {"event_timestamp_ms": int(event_ms), "received_timestamp_ms": received_ms}
        newest_ms = max(newest_ms or 0, effective_time_ms(times))
        if received_ms:
            device.append((received_ms - float(event_ms)) / 1000)
            if not is_ahead:  # a time of recording that was taken from the event before says nothing of this one
                ingest.append((float(recorded_ms) - received_ms) / 1000)
    return None if newest_ms is None else IngestDelays(_spread(device), _spread(ingest), newest_ms)


def _spread(values: list[float]) -> DelaySpread | None:
    if not values:
        return None
    values.sort()
    return DelaySpread(max(0.0, values[len(values) // 2]), max(0.0, values[-1]))


def silent(age_ms: int | None, delay_ms: int | None, target_ms: int) -> str:
    """Why a rider's newest ping is old: ``no`` (it is not), ``rider``, or ``pipeline`` (late itself, or unknown)."""
    if age_ms is not None and age_ms <= 2 * target_ms:
        return "no"
    return "rider" if delay_ms is not None and delay_ms <= 2 * target_ms else "pipeline"
