"""The tables of the rows that compacted topics show. They belong to no generation: a rebuild shares them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, Table, Text

from infrastructure.postgres.schema import metadata

published_shards = Table(
    "published_shards",
    metadata,
    Column("projection", Text(collation="C"), primary_key=True),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    # ``infrastructure.sinks.published_checkpoints``; empty: unknown.
    Column("checkpoint", Text, nullable=False),
)

published_rows = Table(
    "published_rows",
    metadata,
    Column("projection", Text(collation="C"), primary_key=True),
    Column("key", Text(collation="C"), primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    # Of the value's bytes, so that equal bytes are not published again.
    Column("digest", LargeBinary, nullable=False),
    Index(None, "projection", "shard"),
)
