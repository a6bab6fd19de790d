"""States of generations, Postgres sinks, parked keys and discarded events

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "projection_generations",
        sa.Column("state", sa.Text(), server_default=sa.text("'following'"), nullable=False),
    )
    op.add_column("projection_generations", sa.Column("comparison", postgresql.JSONB()))
    op.create_table(
        "projection_fences",
        *_shard_of_a_generation(),
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "generation", "shard", name=op.f("pk_projection_fences")),
    )
    op.create_table(
        "projection_states",
        *_shard_of_a_generation(),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "generation", "shard", "key", name=op.f("pk_projection_states")),
        postgresql_with={"fillfactor": "45"},
    )
    op.create_table(
        "projection_parked",
        *_shard_of_a_generation(),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("parked", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "generation", "shard", "key", name=op.f("pk_projection_parked")),
    )
    op.create_table(
        "discarded_events",
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column(
            "discarded_at",
            postgresql.TIMESTAMP(timezone=True, precision=3),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "position", name=op.f("pk_discarded_events")),
    )


def _shard_of_a_generation() -> list[sa.Column]:
    return [
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
    ]


def downgrade() -> None:
    for table in ("discarded_events", "projection_parked", "projection_states", "projection_fences"):
        op.drop_table(table)
    op.drop_column("projection_generations", "comparison")
    op.drop_column("projection_generations", "state")
