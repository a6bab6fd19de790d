"""How late each stage is, in seconds: since when the oldest event waits that it has not passed.

Freshness is often taken as now − the newest event that was passed; but then a fleet that sleeps looks late, and a
stage that skips looks fresh. What waits, and since when, tells "this rider is silent" from "the pipeline is late".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, text

from domain.contracts import UndecodableError
from domain.features.event_time import effective_time_ms

_OF_POSITION = text(
    "SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM events WHERE position = :position + 1"
)
_OF_SHARDS = text(
    "SELECT extract(epoch FROM clock_timestamp() - min(e.recorded_at))"
    " FROM unnest(CAST(:shards AS smallint[]), CAST(:seqs AS bigint[])) AS u(shard, seq)"
    " JOIN events e ON e.stream = :stream AND e.shard = u.shard AND e.seq = u.seq"
    # Not needed for the answer: it spares the partitions of the past, each of which has an index of its own.
    " WHERE e.position > :above"
)
_LATEST = text(
    "SELECT payload, extract(epoch FROM recorded_at) * 1000, extract(epoch FROM event_time) * 1000 FROM events"
    " WHERE position > :after AND event_type = 'GpsPing'"
)
LATEST = 500
"""Events at the head of the log by which the stages before the commit are judged."""


class Applied(Protocol):
    """How far a shard is applied: a ``Fence``."""

    @property
    def seq(self) -> int: ...

    @property
    def position(self) -> int: ...


def delay_of_position(connection: Connection, position: int) -> float:
    """Seconds that the first event behind ``position`` waits; 0 if there is none."""
    return _seconds(connection.execute(_OF_POSITION, {"position": position}).scalar_one_or_none())


def delay_of_shards(connection: Connection, stream: str, applied: Mapping[int, Applied], head: Sequence[int]) -> float:
    """Seconds that the oldest event waits which is not applied; by shard, as ``head``, the last seqs."""
    behind = {shard: at for shard, at in applied.items() if at.seq < head[shard]}
    if not behind:
        return 0.0
    values = {
        "stream": stream,
        "shards": list(behind),
        "seqs": [at.seq + 1 for at in behind.values()],
        "above": min(at.position for at in behind.values()),
    }
    return _seconds(connection.execute(_OF_SHARDS, values).scalar_one_or_none())


def _seconds(value: Any) -> float:
    return max(0.0, float(value)) if value is not None else 0.0


class Spread(NamedTuple):
    """Of the latest pings, in seconds."""

    median: float
    worst: float


class Before(NamedTuple):
    """The stages before the log has an event: on the phone and its network, and in ingest.

    None of pings that were recorded without their time of reception. ``newest_ms``: when the newest of these pings
    happened, epoch milliseconds.
    """

    device: Spread | None
    ingest: Spread | None
    newest_ms: int


def before_commit(connection: Connection, head: int, decode: Callable[[bytes], Mapping[str, Any]]) -> Before | None:
    """Device → ingest by the times that the pings carry, ingest → commit by when they were recorded; None: no ping."""
    device: list[float] = []
    ingest: list[float] = []
    newest_ms: int | None = None
    for payload, recorded_ms, event_ms in connection.execute(_LATEST, {"after": head - LATEST}):
        try:
            received_ms = decode(bytes(payload)).get("received_timestamp_ms", 0)
        except UndecodableError:
            received_ms = 0  # it is parked where it is folded; here it only has no time of reception
        times = {"event_timestamp_ms": int(event_ms), "received_timestamp_ms": received_ms}
        newest_ms = max(newest_ms or 0, effective_time_ms(times))
        if received_ms:
            device.append((received_ms - float(event_ms)) / 1000)
            ingest.append((float(recorded_ms) - received_ms) / 1000)
    return None if newest_ms is None else Before(_spread(device), _spread(ingest), newest_ms)


def _spread(values: list[float]) -> Spread | None:
    if not values:
        return None
    values.sort()
    return Spread(max(0.0, values[len(values) // 2]), max(0.0, values[-1]))


def silent(age_ms: int | None, delay_ms: int | None, target_ms: int) -> str:
    """Why a rider's newest ping is old: ``no`` (it is not), ``rider``, or ``pipeline`` (late itself, or unknown)."""
    if age_ms is not None and age_ms <= 2 * target_ms:
        return "no"
    return "rider" if delay_ms is not None and delay_ms <= 2 * target_ms else "pipeline"
