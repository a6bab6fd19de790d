"""The tables of the fraud desk: alerts with their case files, and what people decided about them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from read_models.rows import RowTable, metadata

NAME = "spoofing"

CASE_COLUMNS = (
    "rider_id",
    "raised_at",
    "latest_at",
    "score",
    "signals",
    "order_id",
    "leg",
    "position",
    "raised_position",
    "fold_version",
    "file",
)
"""The columns of a case that every change replaces, in the order of ``RowChange.latest``."""

REVIEW_COLUMNS = ("alert_id", "rider_id", "verdict", "reviewer", "why", "at", "position")

_MILLISECONDS = TIMESTAMP(timezone=True, precision=3)


def case_table(name: str) -> Table:
    """A table of alerts: one row an alert, replaced as its case grows.

    ``signals`` has the names of the signals, sorted and separated by commas. ``file`` has ``case_bytes``.
    ``latest_at`` is the event time of the latest evidence. A status is not kept here: it is the latest review's.
    """
    return Table(
        name,
        metadata,
        Column("generation", Integer, primary_key=True, autoincrement=False),
        Column("alert_id", Text(collation="C"), primary_key=True),
        Column("shard", SmallInteger, nullable=False),
        Column("rider_id", Text(collation="C"), nullable=False),
        Column("raised_at", _MILLISECONDS, nullable=False),
        Column("latest_at", _MILLISECONDS, nullable=False),
        Column("score", SmallInteger, nullable=False),
        Column("signals", Text(collation="C"), nullable=False),
        Column("order_id", Text(collation="C")),
        Column("leg", Text(collation="C")),
        Column("position", BigInteger, nullable=False),
        Column("raised_position", BigInteger, nullable=False),
        Column("fold_version", Integer, nullable=False),
        Column("file", LargeBinary, nullable=False),
        Index(None, "generation", "rider_id"),
        # Lists are in the order of raising.
        Index(None, "generation", "raised_at", "alert_id"),
        # Comparing and dropping a shard.
        Index(None, "generation", "shard"),
    )


def case_rows(table: Table) -> RowTable:
    """How a sink maintains a table of ``case_table``."""
    return RowTable(table, key=("alert_id",), add=(), latest=CASE_COLUMNS)


fraud_alerts = case_table("fraud_alerts")

fraud_reviews = Table(
    "fraud_reviews",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("event_id", Text(collation="C"), primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("alert_id", Text(collation="C"), nullable=False),
    Column("rider_id", Text(collation="C"), nullable=False),
    Column("verdict", Text(collation="C"), nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at", _MILLISECONDS, nullable=False),
    Column("position", BigInteger, nullable=False),
    # The latest review of an alert; the reviews of a rider.
    Index(None, "generation", "alert_id", "position"),
    Index(None, "generation", "rider_id", "position"),
    Index(None, "generation", "shard"),
)

TABLES = (
    case_rows(fraud_alerts),
    RowTable(fraud_reviews, key=("event_id",), add=(), latest=REVIEW_COLUMNS),
)
