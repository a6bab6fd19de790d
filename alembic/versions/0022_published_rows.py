"""What the compacted topic of payouts shows

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "published_shards",
        sa.Column("projection", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "shard", name=op.f("pk_published_shards")),
    )
    op.create_table(
        "published_rows",
        sa.Column("projection", sa.Text(collation="C"), nullable=False),
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "key", name=op.f("pk_published_rows")),
    )
    op.create_index("ix_published_rows_projection_shard", "published_rows", ["projection", "shard"])


def downgrade() -> None:
    # The topic must be deleted after this. Which keys it has is forgotten, so after another upgrade those that the fold
    # of then does not have would stay on it.
    op.drop_table("published_rows")
    op.drop_table("published_shards")
