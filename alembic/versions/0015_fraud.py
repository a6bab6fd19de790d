"""Fraud alerts with their case files, and the reviews of all alerts

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_MILLISECONDS = postgresql.TIMESTAMP(timezone=True, precision=3)


def upgrade() -> None:
    op.create_table(
        "fraud_alerts",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("alert_id", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("rider_id", sa.Text(collation="C"), nullable=False),
        sa.Column("raised_at", _MILLISECONDS, nullable=False),
        sa.Column("latest_at", _MILLISECONDS, nullable=False),
        sa.Column("score", sa.SmallInteger(), nullable=False),
        sa.Column("signals", sa.Text(collation="C"), nullable=False),
        sa.Column("order_id", sa.Text(collation="C")),
        sa.Column("leg", sa.Text(collation="C")),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("raised_position", sa.BigInteger(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("file", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("generation", "alert_id", name=op.f("pk_fraud_alerts")),
    )
    op.create_table(
        "fraud_reviews",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("alert_id", sa.Text(collation="C"), nullable=False),
        sa.Column("rider_id", sa.Text(collation="C"), nullable=False),
        sa.Column("verdict", sa.Text(collation="C"), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", _MILLISECONDS, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("generation", "event_id", name=op.f("pk_fraud_reviews")),
    )
    for table, columns in (
        ("fraud_alerts", ["rider_id"]),
        ("fraud_alerts", ["raised_at", "alert_id"]),
        ("fraud_alerts", ["shard"]),
        ("fraud_reviews", ["alert_id", "position"]),
        ("fraud_reviews", ["rider_id", "position"]),
        ("fraud_reviews", ["shard"]),
    ):
        named = ["generation", *columns]
        op.create_index(op.f(f"ix_{table}_{'_'.join(named)}"), table, named)


OF_SHARDS = ("projection_fences", "projection_states", "projection_parked", "projection_shards")


def downgrade() -> None:
    op.drop_table("fraud_reviews")
    op.drop_table("fraud_alerts")
    # The tables and their fences go together (invariant 4): an upgrade would else make empty tables whose fences say
    # that all events are in them. The generations stay, since their numbers are never reused.
    for table in OF_SHARDS:
        op.execute(f"DELETE FROM {table} WHERE projection = 'spoofing'")
