"""The deliveries read model

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ORDER = ["placed_at_ms", "order_id"]


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("order_id", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(collation="C"), nullable=False),
        sa.Column("rider_id", sa.Text(collation="C")),
        sa.Column("restaurant_latitude", sa.Double(), nullable=False),
        sa.Column("restaurant_longitude", sa.Double(), nullable=False),
        sa.Column("customer_latitude", sa.Double(), nullable=False),
        sa.Column("customer_longitude", sa.Double(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("placed_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("assigned_at_ms", sa.BigInteger()),
        sa.Column("picked_up_at_ms", sa.BigInteger()),
        sa.Column("arrived_at_ms", sa.BigInteger()),
        sa.Column("completed_at_ms", sa.BigInteger()),
        sa.Column("cancelled_at_ms", sa.BigInteger()),
        sa.Column("preparation_seconds", sa.BigInteger()),
        sa.Column("promised_seconds", sa.BigInteger()),
        sa.Column("items", sa.BigInteger()),
        sa.PrimaryKeyConstraint("generation", "order_id", name=op.f("pk_deliveries")),
    )
    for columns in (_ORDER, ["status", *_ORDER], ["rider_id", *_ORDER], ["shard"]):
        named = ["generation", *columns]
        op.create_index(op.f(f"ix_deliveries_{'_'.join(named)}"), "deliveries", named)


OF_SHARDS = ("projection_fences", "projection_states", "projection_parked", "projection_shards")


def downgrade() -> None:
    op.drop_table("deliveries")
    # A table and its fences go together (invariant 4): an upgrade would else make an empty table whose fences say that
    # all events are in it. The generations stay, since their numbers are never reused.
    for table in OF_SHARDS:
        op.execute(f"DELETE FROM {table} WHERE projection = 'deliveries'")
