"""Find served ETAs by their order, and by the last event of their rider

Both indexes are built in the migration's transaction. Meanwhile no served ETA can be recorded: the thread that records
them waits and tries again, so no request waits for it. The setting served_etas_keep bounds the table. The log's own
tables are not touched.

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_served_etas_order", "served_etas", ["order_id", "order_position", "id"])
    op.create_index(
        "ix_served_etas_rider",
        "served_etas",
        ["rider_id", "rider_position", "id"],
        postgresql_where=sa.text("rider_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_served_etas_rider", "served_etas")
    op.drop_index("ix_served_etas_order", "served_etas")
