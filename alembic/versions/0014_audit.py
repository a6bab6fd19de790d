"""The audit: what merged a city snapshot and what was found of it, the answers that name one, and dumps of its tables

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null in the rows of before: other code merged them.
    op.add_column("city_snapshots", sa.Column("code_digest", sa.Text()))
    op.add_column("city_snapshots", sa.Column("parked", postgresql.JSONB()))
    op.add_column("city_snapshots", sa.Column("verdict", sa.Text()))
    op.create_index("ix_served_etas_city_snapshot", "served_etas", ["city_snapshot"])
    op.create_table(
        "audit_dumps",
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_id", postgresql.UUID(), nullable=False),
        sa.Column("fold_digest", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", postgresql.TIMESTAMP(True, 3), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("projection", "shard", "number", name=op.f("pk_audit_dumps")),
    )


def downgrade() -> None:
    op.drop_table("audit_dumps")
    op.drop_index("ix_served_etas_city_snapshot", "served_etas")
    op.drop_column("city_snapshots", "verdict")
    op.drop_column("city_snapshots", "parked")
    op.drop_column("city_snapshots", "code_digest")
