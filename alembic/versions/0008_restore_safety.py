"""The event that identifies a fence, and the findings after a restore of the log

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MILLISECONDS = postgresql.TIMESTAMP(timezone=True, precision=3)


def upgrade() -> None:
    op.add_column("projection_fences", sa.Column("event", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_table(
        "restores",
        sa.Column("found_by", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("beyond", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("first_at", _MILLISECONDS, server_default=sa.text("now()"), nullable=False),
        sa.Column("last_at", _MILLISECONDS, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("found_by", name=op.f("pk_restores")),
    )


def downgrade() -> None:
    op.drop_table("restores")
    op.drop_column("projection_fences", "event")
