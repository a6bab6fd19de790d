"""The schema registry

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schemas",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schemas")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_schemas_fingerprint")),
    )
    op.create_table(
        "schema_versions",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("schema_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "version", name=op.f("pk_schema_versions")),
        sa.ForeignKeyConstraint(["schema_id"], ["schemas.id"], name=op.f("fk_schema_versions_schema_id")),
        sa.UniqueConstraint("subject", "schema_id", name=op.f("uq_schema_versions_subject_schema_id")),
    )


def downgrade() -> None:
    op.drop_table("schema_versions")
    op.drop_table("schemas")
