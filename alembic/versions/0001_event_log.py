"""The event log: events, the head that is its lock, snapshots, generations, stages

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def milliseconds() -> postgresql.TIMESTAMP:
    return postgresql.TIMESTAMP(timezone=True, precision=3)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("aggregate_id", postgresql.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("aggregate_type", sa.Text(), nullable=False),
        sa.Column("aggregate_key", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("event_id", postgresql.UUID(), nullable=False),
        sa.Column("event_time", milliseconds(), nullable=False),
        sa.Column("recorded_at", milliseconds(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        postgresql_partition_by="RANGE (position)",
    )
    op.create_index("ix_events_position", "events", ["position"])
    op.create_index("ix_events_identity", "events", ["aggregate_id", "event_time", "event_id"])
    op.create_table(
        "log_head",
        sa.Column("only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("log_id", postgresql.UUID(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("recorded_at", milliseconds(), server_default=sa.text("'epoch'"), nullable=False),
        sa.Column("seqs", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint('"only"', name=op.f("ck_log_head_one_row")),
        sa.PrimaryKeyConstraint("only", name=op.f("pk_log_head")),
        postgresql_with={"fillfactor": "10"},
    )
    op.execute("INSERT INTO log_head DEFAULT VALUES")
    op.create_table(
        "snapshots",
        sa.Column("aggregate_id", postgresql.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("aggregate_id", "version", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "projection_generations",
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("fold_digest", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", milliseconds(), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("projection", "generation", name=op.f("pk_projection_generations")),
    )
    op.create_index(
        "uq_projection_generations_active",
        "projection_generations",
        ["projection"],
        unique=True,
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "stages",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("reported_at", milliseconds(), nullable=False),
        sa.Column("progress", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "instance", name=op.f("pk_stages")),
    )


def downgrade() -> None:
    for table in ("stages", "projection_generations", "snapshots", "log_head", "events"):
        op.drop_table(table)
