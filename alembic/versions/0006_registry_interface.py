"""The registry's interface: versions that are soft-deleted, levels and modes that clients set

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_LIVE = "uq_schema_versions_live"
_ALL = "uq_schema_versions_subject_schema_id"


def upgrade() -> None:
    op.add_column(
        "schema_versions", sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    # A schema that was soft-deleted may be registered again, under a new number.
    op.drop_constraint(op.f(_ALL), "schema_versions")
    op.create_index(
        _LIVE, "schema_versions", ["subject", "schema_id"], unique=True, postgresql_where=sa.text("NOT deleted")
    )
    op.create_table(
        "schema_settings",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("compatibility", sa.Text()),
        sa.Column("mode", sa.Text()),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_schema_settings")),
    )


def downgrade() -> None:
    op.drop_table("schema_settings")
    op.drop_index(_LIVE, "schema_versions")
    # Deleted versions must not reappear; the texts and their ids stay.
    op.execute("DELETE FROM schema_versions WHERE deleted")
    op.create_unique_constraint(op.f(_ALL), "schema_versions", ["subject", "schema_id"])
    op.drop_column("schema_versions", "deleted")
