"""How far stages are behind, asked of the stores: right also of a stage that is dead, hangs or tells nothing.

What a stage says of itself is true while it runs; when it is most worth to be known, nobody says it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from infrastructure.event_store.log_head import LogHeadRow
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.observability.lag import HeadWatch, delay_of_position, delay_of_shards
from infrastructure.observability.stage_reports import POSITIONED, StageReport
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.sinks.factory import Stores
from projections.core.fences import check_fences
from projections.core.ports import Fence
from projections.core.projection import Projection
from projections.rebuild.generations import Generation, active


class StageBacklog(NamedTuple):
    """Events that a stage has not passed, and since when the oldest of them waits; shards that are not of this log.

    ``seconds`` None: no clock can say, the events were recorded in the future of the database.
    """

    events: int
    seconds: float | None
    not_ours: int = 0


def served_generation(engine: Engine, projection: Projection[Any]) -> Generation | None:
    """What readers follow. Raises PortUnavailable."""
    return active(PostgresGenerations(engine).all(projection.name))


def projection_behind(
    connection: Connection,
    stores: Stores,
    projection: Projection[Any],
    generation: int,
    head: LogHeadRow,
    watch: HeadWatch | None = None,
) -> StageBacklog:
    """By the fences in its sink: what is folded and not stored has not been passed. Raises PortUnavailable."""
    seqs = head.shards_of(projection.stream)
    fences = stores.sink(projection, generation).fences(range(len(seqs)))
    not_ours = check_fences(PostgresLog(stores.engine), projection.stream, dict(enumerate(fences))).mismatched
    # What is not of this log has passed nothing of it.
    applied = {shard: fence if fence and shard not in not_ours else _NOTHING for shard, fence in enumerate(fences)}
    events = sum(max(0, seqs[shard] - fence.seq) for shard, fence in applied.items())
    return StageBacklog(events, delay_of_shards(connection, projection.stream, applied, seqs, watch), len(not_ours))


def tailer_behind(
    connection: Connection, report: StageReport | None, head: LogHeadRow, watch: HeadWatch | None = None
) -> StageBacklog | None:
    """By the last position that Kafka has acknowledged; None while the tailer does not know it."""
    if report is None or POSITIONED not in report.progress.detail:
        return None
    position = report.progress.position
    events = max(0, head.position - position)
    return StageBacklog(events, delay_of_position(connection, position, watch) if events else 0.0)


_NOTHING = Fence("", "", 0, 0)
