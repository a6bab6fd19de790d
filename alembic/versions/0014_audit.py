"""The audit: the code that merged a city snapshot, and the answers that name one

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null in the rows of before: other code merged them.
    op.add_column("city_snapshots", sa.Column("code_digest", sa.Text()))
    op.create_index("ix_served_etas_city_snapshot", "served_etas", ["city_snapshot"])


def downgrade() -> None:
    op.drop_index("ix_served_etas_city_snapshot", "served_etas")
    op.drop_column("city_snapshots", "code_digest")
