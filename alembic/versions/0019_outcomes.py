"""How deliveries ended, by hour, by restaurant's place and by rider

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_KEYS: dict[str, list[str]] = {"outcome_hours": [], "outcome_places": ["place"], "outcome_riders": ["rider_id"]}
_SUMS = (
    *("completed", "cancelled", "cancelled_picked_up", "unassigned"),
    *("placed_to_assigned_ms", "assigned_to_picked_up_ms"),
    *("arrivals", "picked_up_to_arrived_ms", "arrived_to_completed_ms", "placed_to_completed_ms"),
    *("promised", "lateness_ms", "late"),
    *("etas", "eta_error_ms", "eta_abs_error_ms", "beyond_p90"),
)


def upgrade() -> None:
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in _SUMS)
    for table, keys in _KEYS.items():
        op.create_table(
            table,
            sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
            *(sa.Column(key, sa.Text(collation="C"), nullable=False) for key in keys),
            sa.Column("hour", postgresql.TIMESTAMP(timezone=True), nullable=False),
            sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
            sa.PrimaryKeyConstraint("generation", *keys, "hour", "shard", name=op.f(f"pk_{table}")),
        )
        if keys:
            op.create_index(op.f(f"ix_{table}_generation_hour_{keys[0]}"), table, ["generation", "hour", *keys])
        op.create_index(op.f(f"ix_{table}_generation_shard"), table, ["generation", "shard"])
        columns = ", ".join(["generation", *keys, "hour"])
        op.execute(f"CREATE VIEW {table}_merged AS SELECT {columns}, {sums} FROM {table} GROUP BY {columns}")


OF_SHARDS = ("projection_fences", "projection_states", "projection_parked", "projection_shards")


def downgrade() -> None:
    for table in _KEYS:
        op.execute(f"DROP VIEW {table}_merged")
        op.drop_table(table)
    # The tables and their fences go together (invariant 4): an upgrade would else make empty tables whose fences say
    # that all events are in them. The generations stay, since their numbers are never reused.
    for table in OF_SHARDS:
        op.execute(f"DELETE FROM {table} WHERE projection = 'outcomes'")
