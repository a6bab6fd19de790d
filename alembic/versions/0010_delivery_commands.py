"""Name the command and the cause of each event but the ping

Both columns are null for pings and for events that are recorded already: nothing is rewritten, and the partial indexes
hold the other events only. The publication has a column list, so the rows that it sends stay the same. A partition that
was detached before has to get both columns before it can be attached again.

The indexes are only declared here, since to build them reads the whole log, and no event can be recorded meanwhile.
``infrastructure/postgres/log_indexes.py`` builds them in each partition after the commit.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COLUMNS = ("command_id", "caused_by")


def upgrade() -> None:
    # The log's lock first, until the end: a writer of the previous version may still run.
    op.execute("LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE")
    op.add_column("events", sa.Column("command_id", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("caused_by", postgresql.UUID(), nullable=True))
    for column in COLUMNS:
        op.execute(f"CREATE INDEX ix_events_{column} ON ONLY events ({column}) WHERE {column} IS NOT NULL")


def downgrade() -> None:
    op.execute("LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE")
    for column in COLUMNS:
        op.drop_index(f"ix_events_{column}", "events")
        op.drop_column("events", column)
