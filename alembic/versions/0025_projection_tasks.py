"""Tasks on projections that were requested over HTTP

Revision ID: 0025
Revises: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

MILLISECONDS = postgresql.TIMESTAMP(timezone=True, precision=3)


def upgrade() -> None:
    op.create_table(
        "projection_tasks",
        sa.Column("task", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("fold_digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("options", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_at", MILLISECONDS, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("started_at", MILLISECONDS),
        sa.Column("reported_at", MILLISECONDS),
        sa.Column("ended_at", MILLISECONDS),
        sa.Column("instance", sa.Text()),
        sa.Column("cancel", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("progress", postgresql.JSONB()),
        sa.Column("result", postgresql.JSONB()),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_projection_tasks")),
    )
    op.create_index(
        "uq_projection_tasks_open",
        "projection_tasks",
        ["projection"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("projection_tasks")
