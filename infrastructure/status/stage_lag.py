"""Measures the backlog of stages in the stores, so that it is right even if a stage is dead, hangs or reports nothing.

A stage's own report is only available while it runs. When it is down, which is when it matters, we measure from
outside.
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
    """Events that a stage has not passed, seconds for which the oldest has waited, and shards of another log.

    ``seconds`` is None if unknown: the events were recorded in the future of the database's clock.
    """

    events: int
    seconds: float | None
    foreign_shards: int = 0


def served_generation(engine: Engine, projection: Projection[Any]) -> Generation | None:
    """The generation that readers follow. Raises PortUnavailable."""
    return active(PostgresGenerations(engine).all(projection.name))


def projection_behind(
    connection: Connection,
    stores: Stores,
    projection: Projection[Any],
    generation: int,
    head: LogHeadRow,
    watch: HeadWatch | None = None,
) -> StageBacklog:
    """Measure by the fences in the sink: an event folded but not stored is not passed. Raises PortUnavailable."""
    seqs = head.shards_of(projection.stream)
    fences = stores.sink(projection, generation).fences(range(len(seqs)))
    foreign_shards = check_fences(PostgresLog(stores.engine), projection.stream, dict(enumerate(fences))).mismatched
    # A shard of another log has passed no event of this one.
    applied = {
        shard: fence if fence and shard not in foreign_shards else _NOTHING for shard, fence in enumerate(fences)
    }
    events = sum(max(0, seqs[shard] - fence.seq) for shard, fence in applied.items())
    return StageBacklog(
        events, delay_of_shards(connection, projection.stream, applied, seqs, watch), len(foreign_shards)
    )


def tailer_behind(
    connection: Connection, report: StageReport | None, head: LogHeadRow, watch: HeadWatch | None = None
) -> StageBacklog | None:
    """Measure by the last position that Kafka has acknowledged; None while the tailer does not know it."""
    if report is None or POSITIONED not in report.progress.detail:
        return None
    position = report.progress.position
    events = max(0, head.position - position)
    return StageBacklog(events, delay_of_position(connection, position, watch) if events else 0.0)


_NOTHING = Fence("", "", 0, 0)
