"""Hand-overs of payouts to the payment provider

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_MILLISECONDS = postgresql.TIMESTAMP(timezone=True, precision=3)


def upgrade() -> None:
    op.create_table(
        "payment_handovers",
        sa.Column("entry_id", sa.Text(collation="C"), nullable=False),
        *(
            sa.Column(name, sa.Text(collation="C"), nullable=False)
            for name in ("payout_id", "kind", "rider_id", "order_id", "leg", "currency")
        ),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(collation="C"), nullable=False),
        sa.Column("ended_at", _MILLISECONDS, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(collation="C"), server_default=sa.text("'open'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("first_attempt_at", _MILLISECONDS),
        sa.Column("latest_attempt_at", _MILLISECONDS),
        sa.Column("next_attempt_at", _MILLISECONDS),
        sa.Column("status", sa.Integer()),
        sa.Column("answer_digest", sa.Text(collation="C")),
        sa.Column("reason", sa.Text()),
        sa.Column("latest_amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("settled_amount_minor", sa.BigInteger()),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_payment_handovers")),
    )
    op.create_index(
        "ix_payment_handovers_open",
        "payment_handovers",
        ["rider_id", "position", "seq"],
        postgresql_where=sa.text("state IN ('open', 'held')"),
    )
    op.create_index(
        "ix_payment_handovers_differing",
        "payment_handovers",
        ["entry_id"],
        postgresql_where=sa.text("latest_amount_minor <> coalesce(settled_amount_minor, amount_minor)"),
    )
    op.create_index("ix_payment_handovers_payout_id", "payment_handovers", ["payout_id"])
    op.create_table(
        "payment_cursors",
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("generation", "shard", name=op.f("pk_payment_cursors")),
    )


def downgrade() -> None:
    """Raises RuntimeError if anything was handed over: without the record of it an upgrade would pay it again."""
    handed_over = (
        op.get_bind().execute(sa.text("SELECT count(*) FROM payment_handovers WHERE attempts > 0")).scalar_one()
    )
    if handed_over:
        raise RuntimeError(
            f"payment_handovers has {handed_over:,} payments that a provider has seen, and without them an upgrade "
            "would hand them over again: keep this revision, or move the table out of the schema first"
        )
    op.drop_table("payment_cursors")
    op.drop_table("payment_handovers")
