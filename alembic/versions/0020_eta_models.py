"""Models of the ETA: their files, which one serves, and what the next one would have answered

Revision ID: 0020
Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "eta_models",
        sa.Column("digest", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True, precision=3), server_default=_NOW, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_eta_models")),
    )
    op.create_table(
        "eta_model_files",
        sa.Column("digest", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "name", name=op.f("pk_eta_model_files")),
        # Without a cascade: an answer on record names its model, so no model is deleted with its files in place.
        sa.ForeignKeyConstraint(["digest"], ["eta_models.digest"], name=op.f("fk_eta_model_files_digest")),
    )
    op.create_table(
        "eta_model_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("changed_at", postgresql.TIMESTAMP(timezone=True, precision=3), server_default=_NOW, nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("serving", sa.Text(collation="C")),
        sa.Column("shadow", sa.Text(collation="C")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_eta_model_changes")),
        sa.ForeignKeyConstraint(["serving"], ["eta_models.digest"], name=op.f("fk_eta_model_changes_serving")),
        sa.ForeignKeyConstraint(["shadow"], ["eta_models.digest"], name=op.f("fk_eta_model_changes_shadow")),
        sa.CheckConstraint(
            "action IN ('promote', 'shadow', 'end_shadow', 'roll_back')", name=op.f("ck_eta_model_changes_action")
        ),
    )
    op.create_table(
        "shadow_etas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("order_id", sa.Text(collation="C"), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("leg", sa.Text(), nullable=False),
        *(
            column
            for role in ("serving", "shadow")
            for column in (
                sa.Column(f"{role}_digest", sa.Text(collation="C"), nullable=False),
                sa.Column(f"{role}_p50_s", sa.Float(), nullable=False),
                sa.Column(f"{role}_p90_s", sa.Float(), nullable=False),
            )
        ),
        sa.Column("outside_training", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_etas")),
    )
    op.create_index("ix_shadow_etas_shadow_digest", "shadow_etas", ["shadow_digest", "id"])


def downgrade() -> None:
    for table in ("shadow_etas", "eta_model_changes", "eta_model_files", "eta_models"):
        op.drop_table(table)
