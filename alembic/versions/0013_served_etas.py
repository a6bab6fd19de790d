"""Served ETAs, each with all that it depends on besides the events

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "served_etas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("log_id", postgresql.UUID(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("order_generation", sa.Integer(), nullable=False),
        sa.Column("order_version", sa.BigInteger(), nullable=False),
        sa.Column("order_position", sa.BigInteger(), nullable=False),
        sa.Column("rider_id", sa.Text()),
        sa.Column("rider_generation", sa.Integer()),
        sa.Column("rider_version", sa.BigInteger()),
        sa.Column("rider_position", sa.BigInteger()),
        sa.Column("city_snapshot", sa.BigInteger()),
        sa.Column("city_digest", sa.Text()),
        sa.Column("code_digest", sa.Text(), nullable=False),
        sa.Column("model_digest", sa.Text(), nullable=False),
        sa.Column("fingerprint", postgresql.JSONB(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_served_etas")),
    )
    op.create_index("ix_served_etas_at_ms", "served_etas", ["at_ms"])
    op.create_index("ix_served_etas_unchecked", "served_etas", ["id"], postgresql_where=sa.text("verdict IS NULL"))


def downgrade() -> None:
    op.drop_table("served_etas")
