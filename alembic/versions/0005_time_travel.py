"""State snapshots along the streams, served reads, and the differences found in either

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("fold_digest", sa.Text(), nullable=False),
        sa.Column("aggregate_id", postgresql.UUID(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("every", sa.Integer(), nullable=False),
        sa.Column("earliest", postgresql.TIMESTAMP(timezone=True, precision=3), nullable=False),
        sa.Column("latest", postgresql.TIMESTAMP(timezone=True, precision=3), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "fold_digest", "aggregate_id", "position", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "served_reads",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("fold_digest", sa.Text(), nullable=False),
        sa.Column("view_digest", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("read_ms", sa.BigInteger(), nullable=False),
        sa.Column("target_freshness_ms", sa.BigInteger(), nullable=False),
        sa.Column("feature_ttl_ms", sa.BigInteger(), nullable=False),
        sa.Column("allow_expired", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_served_reads")),
    )
    op.create_index("ix_served_reads_read_ms", "served_reads", ["read_ms"])
    for name, where in (("unchecked", "verdict IS NULL"), ("different", "verdict = 'different'")):
        op.create_index(f"ix_served_reads_{name}", "served_reads", ["id"], postgresql_where=sa.text(where))
    op.create_table(
        "wrong_checkpoints",
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kept", sa.LargeBinary(), nullable=False),
        sa.Column("folded", sa.LargeBinary(), nullable=False),
        sa.Column(
            "found_at",
            postgresql.TIMESTAMP(timezone=True, precision=3),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("projection", "generation", "key", "version", name=op.f("pk_wrong_checkpoints")),
    )


def downgrade() -> None:
    op.drop_table("wrong_checkpoints")
    op.drop_table("served_reads")
    op.drop_table("checkpoints")
