"""The completion read model: legs, places and cases

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_MILLISECONDS = postgresql.TIMESTAMP(timezone=True, precision=3)


def upgrade() -> None:
    op.create_table(
        "completion_legs",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("order_id", sa.Text(collation="C"), nullable=False),
        sa.Column("leg", sa.Text(collation="C"), nullable=False),
        sa.Column("rider_id", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Text(collation="C"), nullable=False),
        sa.Column("outcome", sa.Text(collation="C")),
        sa.Column("started_at", _MILLISECONDS, nullable=False),
        sa.Column("approach_at", _MILLISECONDS),
        sa.Column("arrived_at", _MILLISECONDS),
        sa.Column("done_at", _MILLISECONDS),
        sa.Column("button_at", _MILLISECONDS),
        sa.Column("basis", sa.Text(collation="C")),
        sa.Column("certainty", sa.Text(collation="C")),
        sa.Column("distance_mm", sa.BigInteger()),
        sa.Column("accuracy_mm", sa.BigInteger()),
        sa.Column("button_distance_mm", sa.BigInteger()),
        sa.Column("approach_event", sa.Text(collation="C")),
        sa.Column("arrived_event", sa.Text(collation="C")),
        sa.Column("done_event", sa.Text(collation="C")),
        sa.Column("button_event", sa.Text(collation="C")),
        sa.PrimaryKeyConstraint("generation", "order_id", "leg", "rider_id", name=op.f("pk_completion_legs")),
    )
    op.create_table(
        "completion_places",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Text(collation="C"), nullable=False),
        sa.Column("leg", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("stops", sa.BigInteger(), nullable=False),
        sa.Column("north_mm", sa.BigInteger(), nullable=False),
        sa.Column("east_mm", sa.BigInteger(), nullable=False),
        sa.Column("far_stops", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("generation", "place", "leg", "shard", name=op.f("pk_completion_places")),
    )
    op.create_table(
        "completion_cases",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("alert_id", sa.Text(collation="C"), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("rider_id", sa.Text(collation="C"), nullable=False),
        sa.Column("raised_at", _MILLISECONDS, nullable=False),
        sa.Column("latest_at", _MILLISECONDS, nullable=False),
        sa.Column("score", sa.SmallInteger(), nullable=False),
        sa.Column("signals", sa.Text(collation="C"), nullable=False),
        sa.Column("order_id", sa.Text(collation="C")),
        sa.Column("leg", sa.Text(collation="C")),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("raised_position", sa.BigInteger(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("file", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("generation", "alert_id", name=op.f("pk_completion_cases")),
    )
    for table, columns in (
        ("completion_legs", ["shard"]),
        ("completion_places", ["shard"]),
        ("completion_cases", ["rider_id"]),
        ("completion_cases", ["raised_at", "alert_id"]),
        ("completion_cases", ["shard"]),
    ):
        named = ["generation", *columns]
        op.create_index(op.f(f"ix_{table}_{'_'.join(named)}"), table, named)


OF_SHARDS = ("projection_fences", "projection_states", "projection_parked", "projection_shards")


def downgrade() -> None:
    for table in ("completion_cases", "completion_places", "completion_legs"):
        op.drop_table(table)
    # The tables and their fences go together (invariant 4): an upgrade would else make empty tables whose fences say
    # that all events are in them. The generations stay, since their numbers are never reused.
    for table in OF_SHARDS:
        op.execute(f"DELETE FROM {table} WHERE projection = 'completion'")
