"""Inserts a stage report as another process would write it."""

from __future__ import annotations

from sqlalchemy import Connection, text

_STAGE = text("INSERT INTO stages VALUES (:stage, :instance) ON CONFLICT DO NOTHING")
_REPORT = text(
    "INSERT INTO stage_reports SELECT :stage, :instance, coalesce(max(number), 0) + 1,"
    " clock_timestamp() - make_interval(secs => :age_s), CAST(:progress AS jsonb)"
    " FROM stage_reports WHERE stage = :stage AND instance = :instance"
)


def insert_report(
    connection: Connection, stage: str, instance: str, age_s: float = 0.0, progress: str = '{"state": "running"}'
) -> None:
    """Insert a report that is ``age_s`` seconds old. ``progress`` is the JSON of a ``Progress``."""
    connection.execute(_STAGE, {"stage": stage, "instance": instance})
    values = {"stage": stage, "instance": instance, "age_s": age_s, "progress": progress}
    connection.execute(_REPORT, values)
