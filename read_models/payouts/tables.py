"""The payouts read model: one row a payout or adjustment, which no later event changes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from read_models.payouts.rows import COLUMNS
from read_models.rows import RowTable, metadata

NAME = "payouts"

payout_entries = Table(
    "payout_entries",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("entry_id", Text(collation="C"), primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("kind", Text(collation="C"), nullable=False),
    Column("payout_id", Text(collation="C"), nullable=False),
    Column("rider_id", Text(collation="C"), nullable=False),
    Column("order_id", Text(collation="C"), nullable=False),
    *(Column(name, Text(collation="C"), nullable=False) for name in ("leg", "outcome", "currency")),
    Column("amount_minor", BigInteger, nullable=False),
    # Canonical JSON as it was made, so that two generations can be compared byte for byte.
    Column("items", Text, nullable=False),
    Column("tariff_version", Integer, nullable=False),
    Column("ended_at", TIMESTAMP(timezone=True, precision=3), nullable=False),
    Column("period", Text(collation="C"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    # A rider's statement, and the hand-over in the order of seq.
    Index(None, "generation", "rider_id", "seq"),
    # A payout with its adjustments.
    Index(None, "generation", "payout_id"),
    Index(None, "generation", "order_id"),
    # Lists by the end of the leg.
    Index(None, "generation", "ended_at", "payout_id"),
    # Comparing and dropping a shard; what is new in it, to be handed over.
    Index(None, "generation", "shard", "position"),
)

TABLES = (RowTable(payout_entries, key=("entry_id",), add=(), latest=COLUMNS),)
