"""Drift of served features and error of served ETAs, by day

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "eta_drift",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model_digest", sa.Text(collation="C"), nullable=False),
        sa.Column("feature", sa.Text(collation="C"), nullable=False),
        sa.Column("psi", sa.Float(), nullable=False),
        sa.Column("chance_psi", sa.Float(), nullable=False),
        sa.Column("answers", sa.BigInteger(), nullable=False),
        sa.Column("orders", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "model_digest", "feature", name=op.f("pk_eta_drift")),
    )
    op.create_table(
        "eta_errors",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model_digest", sa.Text(collation="C"), nullable=False),
        sa.Column("leg", sa.Text(collation="C"), nullable=False),
        sa.Column("answers", sa.BigInteger(), nullable=False),
        sa.Column("orders", sa.BigInteger(), nullable=False),
        sa.Column("mae_s", sa.Float(), nullable=False),
        sa.Column("bias_s", sa.Float(), nullable=False),
        sa.Column("p50_held", sa.BigInteger(), nullable=False),
        sa.Column("p90_held", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "model_digest", "leg", name=op.f("pk_eta_errors")),
    )


def downgrade() -> None:
    op.drop_table("eta_errors")
    op.drop_table("eta_drift")
