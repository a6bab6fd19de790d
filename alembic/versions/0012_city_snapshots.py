"""City snapshots: number, clock reading, generations, fences and digest; and the bytes of the newest

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "city_snapshots",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("as_of_ms", sa.BigInteger(), nullable=False),
        sa.Column("log_id", postgresql.UUID(), nullable=False),
        sa.Column("generations", postgresql.JSONB(), nullable=False),
        sa.Column("fences", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("fingerprint", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_city_snapshots")),
    )
    op.create_table(
        "city_contents",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_city_contents")),
    )


def downgrade() -> None:
    op.drop_table("city_contents")
    op.drop_table("city_snapshots")
