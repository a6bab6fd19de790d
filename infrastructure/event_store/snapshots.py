"""Snapshots of aggregates on the library's AggregateRecorder port; they bound the cost of loading, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import AggregateRecorder, StoredEvent
from sqlalchemy import Engine, insert, select
from sqlalchemy.dialects.postgresql import distinct_on

from infrastructure.event_store.errors import as_library_errors
from infrastructure.event_store.reads import of_versions
from infrastructure.event_store.tables import snapshots


class SnapshotRecorder(AggregateRecorder):
    """Not part of the log: a snapshot lost is a slower load; one that is there already raises IntegrityError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def insert_events(self, stored_events: Sequence[StoredEvent], **_kwargs: Any) -> None:
        if not stored_events:
            return
        rows = [
            {
                "aggregate_id": event.originator_id,
                "version": event.originator_version,
                "topic": event.topic,
                "state": event.state,
            }
            for event in stored_events
        ]
        with as_library_errors(), self._engine.begin() as connection:
            connection.execute(insert(snapshots), rows)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        c = snapshots.c
        query = select(c.version, c.topic, c.state).where(c.aggregate_id == originator_id)
        query = of_versions(query, c.version, gt=gt, lte=lte, desc=desc, limit=limit)
        with as_library_errors(), self._engine.connect() as connection:
            return [StoredEvent(originator_id, row[0], row[1], bytes(row[2])) for row in connection.execute(query)]

    def latest(self, aggregates: Sequence[UUID]) -> dict[UUID, StoredEvent]:
        """The newest snapshot of each of many aggregates; absent = none."""
        c = snapshots.c
        query = (
            select(c.aggregate_id, c.version, c.topic, c.state)
            .where(c.aggregate_id.in_(aggregates))
            .ext(distinct_on(c.aggregate_id))
            .order_by(c.aggregate_id, c.version.desc())
        )
        with as_library_errors(), self._engine.connect() as connection:
            return {row[0]: StoredEvent(row[0], row[1], row[2], bytes(row[3])) for row in connection.execute(query)}
