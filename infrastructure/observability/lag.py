"""Delay of each stage in seconds: how long the oldest event that it has not passed has waited.

Freshness is often measured as now − the newest event passed. But then a sleeping fleet looks late, and a stage that
skips events looks fresh. What waits, and for how long, distinguishes "this rider is silent" from "the pipeline is
late".
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
    # Not needed for the result: it excludes old partitions, each of which has an index of its own.
    " WHERE e.position > :above"
)
_LATEST = text(
    "SELECT payload, extract(epoch FROM recorded_at) * 1000, extract(epoch FROM event_time) * 1000,"
    " recorded_at > clock_timestamp() + interval '2 seconds' FROM events"
    " WHERE position > :after AND event_type = 'GpsPing'"
)
MAX_SEEN_HEADS = 3_600
"""Heads that a HeadWatch remembers: an hour at one observation a second. A longer wait counts from the oldest one."""
CLOCK_TOLERANCE_S = 2.0
"""How far two clocks of one installation may differ, in seconds, before a time counts as wrong."""
LATEST = 500
"""Events at the head of the log from which the delays of the stages before the commit are measured."""


class AppliedPositions(Protocol):
    """How far a shard is applied; a ``Fence`` is one."""

    @property
    def seq(self) -> int: ...

    @property
    def position(self) -> int: ...


class HeadWatch:
    """Remembers when this process first saw the log reach each position, by its own monotonic clock.

    A recording time ahead of the database's clock gives no delay, and would hide any. The time for which this process
    has seen an event in the log is never negative, and never longer than the event has waited.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds, monotonic."""
        self._clock = clock
        self._seen: deque[tuple[int, float]] = deque(maxlen=MAX_SEEN_HEADS)

    def observe(self, head: int) -> None:
        """Note that the log ends at position ``head`` now."""
        if self._seen and head < self._seen[-1][0]:
            self._seen.clear()  # the log was restored to an older state: it assigns these positions to other events
        if not self._seen or head > self._seen[-1][0]:
            self._seen.append((head, self._clock()))

    def waiting_s(self, position: int) -> float:
        """Seconds since the event at ``position`` was first seen in the log; 0 if it was not seen."""
        at = bisect_left(self._seen, position, key=lambda seen: seen[0])
        return max(0.0, self._clock() - self._seen[at][1]) if at < len(self._seen) else 0.0


def delay_of_position(connection: Connection, position: int, watch: HeadWatch | None = None) -> float | None:
    """Seconds for which the first event after ``position`` has waited; 0 if there is none, None if unknown.

    Unknown means that the event was recorded in the future of the database's clock and that ``watch`` is not given.
    """
    return _delay(connection.execute(_OF_POSITION, {"position": position}).one_or_none(), watch)


def delay_of_shards(
    connection: Connection,
    stream: str,
    applied: Mapping[int, AppliedPositions],
    head: Sequence[int],
    watch: HeadWatch | None = None,
) -> float | None:
    """Seconds for which the oldest event that is not applied has waited. ``head``: the last seq of each shard.

    None if unknown: the event was recorded in the future of the database's clock, and ``watch`` is not given.
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
        return max(0.0, seconds, watch.waiting_s(waiting[1]))
    return None if seconds < -CLOCK_TOLERANCE_S else max(0.0, seconds)


class DelaySpread(NamedTuple):
    """Delays of the latest pings, in seconds."""

    median: float
    worst: float


class IngestDelays(NamedTuple):
    """Delays before the commit: on the phone and its network, and in ingest.

    None if the pings were recorded without their time of reception. ``newest_ms``: event time of the newest of these
    pings, epoch milliseconds.
    """

    device: DelaySpread | None
    ingest: DelaySpread | None
    newest_ms: int


def ingest_delays(
    connection: Connection, head: int, decode: Callable[[bytes], Mapping[str, Any]]
) -> IngestDelays | None:
    """Measure device → ingest by the pings' own times, ingest → commit by their recording times; None: no ping."""
    device: list[float] = []
    ingest: list[float] = []
    newest_ms: int | None = None
    for payload, recorded_ms, event_ms, is_ahead in connection.execute(_LATEST, {"after": head - LATEST}):
        try:
            received_ms = decode(bytes(payload)).get("received_timestamp_ms", 0)
        except UndecodableError:
            received_ms = 0  # its key is parked by the fold; here it only lacks a time of reception
        times = {"event_timestamp_ms": int(event_ms), "received_timestamp_ms": received_ms}
        newest_ms = max(newest_ms or 0, effective_time_ms(times))
        if received_ms:
            device.append((received_ms - float(event_ms)) / 1000)
            if not is_ahead:  # a recording time that was raised to that of the previous event is no measurement
                ingest.append((float(recorded_ms) - received_ms) / 1000)
    return None if newest_ms is None else IngestDelays(_spread(device), _spread(ingest), newest_ms)


def _spread(values: list[float]) -> DelaySpread | None:
    if not values:
        return None
    values.sort()
    return DelaySpread(max(0.0, values[len(values) // 2]), max(0.0, values[-1]))


def silence_cause(age_ms: int | None, delay_ms: int | None, target_ms: int) -> str:
    """Why a rider's newest ping is old: ``no`` (it is not), ``rider``, or ``pipeline`` (late, or its delay unknown)."""
    if age_ms is not None and age_ms <= 2 * target_ms:
        return "no"
    return "rider" if delay_ms is not None and delay_ms <= 2 * target_ms else "pipeline"
