"""Insert new rows where one row was updated for ever, so that open transactions do not slow the writers

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_MILLISECONDS = postgresql.TIMESTAMP(timezone=True, precision=3)


def upgrade() -> None:
    # The log's lock first, until the end: a writer of the previous version may still run.
    op.execute("LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE")
    op.create_table(
        "log_numbers",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", _MILLISECONDS, nullable=False),
        sa.Column("seqs", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_log_numbers")),
    )
    op.execute("INSERT INTO log_numbers SELECT 1, position, recorded_at, seqs FROM log_head")
    for column in ("position", "recorded_at", "seqs"):
        op.drop_column("log_head", column)
    op.execute("ALTER TABLE log_head RESET (fillfactor)")

    _number("relay_marks", ("name",))
    op.execute("ALTER TABLE relay_marks RESET (fillfactor)")

    op.create_table(
        "projection_shards",
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("projection", "generation", "shard", name=op.f("pk_projection_shards")),
    )
    op.execute("LOCK TABLE projection_fences IN ACCESS EXCLUSIVE MODE")
    op.execute("INSERT INTO projection_shards SELECT projection, generation, shard FROM projection_fences")
    _number("projection_fences", ("projection", "generation", "shard"))

    # Stage reports are only a second old, so none of them is migrated.
    op.drop_table("stages")
    op.create_table(
        "stages",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "instance", name=op.f("pk_stages")),
    )
    op.create_table(
        "stage_reports",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reported_at", _MILLISECONDS, nullable=False),
        sa.Column("progress", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "instance", "number", name=op.f("pk_stage_reports")),
    )


def _number(table: str, key: tuple[str, ...]) -> None:
    """Numbers the rows of ``table`` within ``key``, from 1."""
    op.add_column(table, sa.Column("number", sa.BigInteger(), server_default=sa.text("1"), nullable=False))
    op.alter_column(table, "number", server_default=None)
    op.drop_constraint(f"pk_{table}", table, type_="primary")
    op.create_primary_key(f"pk_{table}", table, [*key, "number"])


def _only_newest(table: str, key: tuple[str, ...]) -> None:
    """The reverse: keeps only the newest row of each ``key``."""
    same = " AND ".join(f"t.{name} = newer.{name}" for name in key)
    op.execute(f"DELETE FROM {table} t USING {table} newer WHERE {same} AND t.number < newer.number")
    op.drop_constraint(f"pk_{table}", table, type_="primary")
    op.drop_column(table, "number")
    op.create_primary_key(f"pk_{table}", table, list(key))


def downgrade() -> None:
    op.drop_table("stage_reports")
    op.drop_table("stages")
    op.create_table(
        "stages",
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("reported_at", _MILLISECONDS, nullable=False),
        sa.Column("progress", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "instance", name=op.f("pk_stages")),
    )
    _only_newest("projection_fences", ("projection", "generation", "shard"))
    op.drop_table("projection_shards")
    _only_newest("relay_marks", ("name",))
    op.execute("ALTER TABLE relay_marks SET (fillfactor = 10)")
    op.execute("LOCK TABLE log_head, log_numbers IN ACCESS EXCLUSIVE MODE")
    op.add_column("log_head", sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "log_head", sa.Column("recorded_at", _MILLISECONDS, server_default=sa.text("'epoch'"), nullable=False)
    )
    op.add_column("log_head", sa.Column("seqs", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False))
    op.execute(
        "UPDATE log_head SET position = n.position, recorded_at = n.recorded_at, seqs = n.seqs"
        " FROM (SELECT * FROM log_numbers ORDER BY number DESC LIMIT 1) n"
    )
    op.execute("ALTER TABLE log_head SET (fillfactor = 10)")
    op.drop_table("log_numbers")
