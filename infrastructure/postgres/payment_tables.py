"""The tables of hand-overs to the payment provider. They belong to no generation: a rebuild pays nothing."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text, text

from infrastructure.postgres.schema import MILLISECONDS, metadata

payment_handovers = Table(
    "payment_handovers",
    metadata,
    Column("entry_id", Text(collation="C"), primary_key=True),
    Column("payout_id", Text(collation="C"), nullable=False),
    Column("kind", Text(collation="C"), nullable=False),
    Column("rider_id", Text(collation="C"), nullable=False),
    Column("order_id", Text(collation="C"), nullable=False),
    Column("leg", Text(collation="C"), nullable=False),
    Column("currency", Text(collation="C"), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("period", Text(collation="C"), nullable=False),
    Column("ended_at", MILLISECONDS, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    # open: to be handed over; done: the provider has it; held: a person decides; skipped: a person decided against it.
    Column("state", Text(collation="C"), nullable=False, server_default=text("'open'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("first_attempt_at", MILLISECONDS),
    Column("latest_attempt_at", MILLISECONDS),
    Column("next_attempt_at", MILLISECONDS),
    Column("status", Integer),
    Column("answer_digest", Text(collation="C")),
    Column("reason", Text),
    # Of the entry in the active generation; another one than amount_minor means that the tariff changed afterwards.
    Column("latest_amount_minor", BigInteger, nullable=False),
    # The latest amount that a person has settled another way.
    Column("settled_amount_minor", BigInteger),
    # The next entry of each rider, and those that a person decides on: few rows wait.
    Index(
        "ix_payment_handovers_open", "rider_id", "position", "seq", postgresql_where=text("state IN ('open', 'held')")
    ),
    # What differs from what was handed over.
    Index(
        "ix_payment_handovers_differing",
        "entry_id",
        postgresql_where=text("latest_amount_minor <> coalesce(settled_amount_minor, amount_minor)"),
    ),
    Index("ix_payment_handovers_payout_id", "payout_id"),
)

payment_cursors = Table(
    "payment_cursors",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    # Entries up to this position of the log are in payment_handovers.
    Column("position", BigInteger, nullable=False),
)
