"""Sessions of browsers, by hash

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "http_sessions",
        sa.Column("id_hash", sa.LargeBinary(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True, precision=3), nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_http_sessions")),
    )
    op.create_index("ix_http_sessions_expires_at", "http_sessions", ["expires_at"])


def downgrade() -> None:
    op.drop_table("http_sessions")
