"""The analytics read model

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STEPS = ("impossible_steps", "distance_mm", "moving_mm", "moving_ms")
_LATE = ("late_1_min", "late_5_min", "late_15_min", "late_60_min")
_HOUR_SUMS = ("pings", "rejected_fixes", "too_late", *_LATE, *_STEPS)
_MINUTE_SUMS = ("riders", "pings", "rejected_fixes", "too_late", *_STEPS)


def upgrade() -> None:
    op.create_table(
        "rider_hours",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rider_id", sa.Text(collation="C"), nullable=False),
        sa.Column("hour", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _HOUR_SUMS),
        sa.Column("speed_max_mm_s", sa.BigInteger()),
        sa.Column("longest_silence_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("generation", "rider_id", "hour", name=op.f("pk_rider_hours")),
        postgresql_with={"fillfactor": "45"},
    )
    op.create_index(op.f("ix_rider_hours_generation_hour_rider_id"), "rider_hours", ["generation", "hour", "rider_id"])
    op.create_index(op.f("ix_rider_hours_generation_shard"), "rider_hours", ["generation", "shard"])
    op.create_table(
        "fleet_minutes",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("minute", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _MINUTE_SUMS),
        sa.PrimaryKeyConstraint("generation", "minute", "shard", name=op.f("pk_fleet_minutes")),
    )
    op.create_index(op.f("ix_fleet_minutes_generation_shard"), "fleet_minutes", ["generation", "shard"])
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in _MINUTE_SUMS)
    op.execute(
        f"CREATE VIEW fleet_minutes_merged AS SELECT generation, minute, {sums}"
        " FROM fleet_minutes GROUP BY generation, minute"
    )


def downgrade() -> None:
    op.execute("DROP VIEW fleet_minutes_merged")
    op.drop_table("fleet_minutes")
    op.drop_table("rider_hours")
    # A table and its fences go together (invariant 4): an upgrade would else make empty tables whose fences say that
    # all events are in them. The generations stay, since their numbers are never reused.
    for table in ("projection_fences", "projection_states", "projection_parked"):
        op.execute(f"DELETE FROM {table} WHERE projection = 'analytics'")
