"""How far the topics are published

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "relay_marks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("log_id", postgresql.UUID(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_lsn", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("topics", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "marked_at",
            postgresql.TIMESTAMP(timezone=True, precision=3),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_relay_marks")),
        postgresql_with={"fillfactor": "10"},
    )


def downgrade() -> None:
    op.drop_table("relay_marks")
