"""The payouts read model

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_INDEXES = (["rider_id", "seq"], ["payout_id"], ["order_id"], ["ended_at", "payout_id"], ["shard", "position"])


def upgrade() -> None:
    op.create_table(
        "payout_entries",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        sa.Column("payout_id", sa.Text(collation="C"), nullable=False),
        sa.Column("rider_id", sa.Text(collation="C"), nullable=False),
        sa.Column("order_id", sa.Text(collation="C"), nullable=False),
        sa.Column("leg", sa.Text(collation="C"), nullable=False),
        sa.Column("outcome", sa.Text(collation="C"), nullable=False),
        sa.Column("currency", sa.Text(collation="C"), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("items", sa.Text(), nullable=False),
        sa.Column("tariff_version", sa.Integer(), nullable=False),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True, precision=3), nullable=False),
        sa.Column("period", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("generation", "entry_id", name=op.f("pk_payout_entries")),
    )
    for columns in _INDEXES:
        named = ["generation", *columns]
        op.create_index(op.f(f"ix_payout_entries_{'_'.join(named)}"), "payout_entries", named)


OF_SHARDS = ("projection_fences", "projection_states", "projection_parked", "projection_shards")


def downgrade() -> None:
    op.drop_table("payout_entries")
    # A table and its fences go together (invariant 4): an upgrade would else make an empty table whose fences say that
    # all events are in it. The generations stay, since their numbers are never reused.
    for table in OF_SHARDS:
        op.execute(f"DELETE FROM {table} WHERE projection = 'payouts'")
