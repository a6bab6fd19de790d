"""The tables of what was served, on record so that an audit can compute it again from the log."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

from infrastructure.postgres.schema import MILLISECONDS, metadata

# A sample of the served answers, to be recomputed from the events. Only the newest; a setting limits how many.
served_reads = Table(
    "served_reads",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("projection", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("fold_digest", Text, nullable=False),
    Column("view_digest", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    # The one clock reading of the request, and the other inputs of its answer.
    Column("read_ms", BigInteger, nullable=False),
    Column("target_freshness_ms", BigInteger, nullable=False),
    Column("feature_ttl_ms", BigInteger, nullable=False),
    Column("allow_expired", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("verdict", Text),
    Index("ix_served_reads_read_ms", "read_ms"),
    Index("ix_served_reads_unchecked", "id", postgresql_where=text("verdict IS NULL")),
    Index("ix_served_reads_different", "id", postgresql_where=text("verdict = 'different'")),
)

# City snapshots: what each was merged from. Answers name the number; the audit merges again and compares the digest.
city_snapshots = Table(
    "city_snapshots",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # The one clock reading of its maker.
    Column("as_of_ms", BigInteger, nullable=False),
    Column("log_id", UUID(as_uuid=True), nullable=False),
    # By projection: its generation; the seq of the fence of each shard.
    Column("generations", JSONB, nullable=False),
    Column("fences", JSONB, nullable=False),
    Column("digest", Text, nullable=False),
    Column("fingerprint", JSONB, nullable=False),
    # Of the code that merged it; null: it was merged before the digest was on record.
    Column("code_digest", Text),
    # By projection: the positions at which keys were parked. A projection that is absent had too many, or is not known.
    Column("parked", JSONB),
    # What the audit found, for the next process that audits.
    Column("verdict", Text),
)

# The bytes of the newest snapshots; older ones are pruned.
city_contents = Table(
    "city_contents",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

# Served ETAs, each with all that it depends on besides the events: places in two read models, the city snapshot, code,
# model, and the one clock reading of the request.
served_etas = Table(
    "served_etas",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("log_id", UUID, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("order_generation", Integer, nullable=False),
    Column("order_version", BigInteger, nullable=False),
    Column("order_position", BigInteger, nullable=False),
    Column("rider_id", Text),
    Column("rider_generation", Integer),
    Column("rider_version", BigInteger),
    Column("rider_position", BigInteger),
    Column("city_snapshot", BigInteger),
    Column("city_digest", Text),
    Column("code_digest", Text, nullable=False),
    Column("model_digest", Text, nullable=False),
    Column("fingerprint", JSONB, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("verdict", Text),
    Index("ix_served_etas_at_ms", "at_ms"),
    Index("ix_served_etas_unchecked", "id", postgresql_where=text("verdict IS NULL")),
    Index("ix_served_etas_city_snapshot", "city_snapshot"),
    # The answers along an order's life, and those that an event of their rider led to.
    Index("ix_served_etas_order", "order_id", "order_position", "id"),
    Index("ix_served_etas_rider", "rider_id", "rider_position", "id", postgresql_where=text("rider_id IS NOT NULL")),
)

# Starts for the audit of the city: its tables at one vector of fences, in one part a shard and one part over all shards
# (shard -1). Only the two newest of each projection.
audit_dumps = Table(
    "audit_dumps",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("log_id", UUID(as_uuid=True), nullable=False),
    Column("fold_digest", Text, nullable=False),
    # Of the last event folded.
    Column("seq", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    # Over shard, seq, position and content.
    Column("digest", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("made_at", MILLISECONDS, nullable=False, server_default=text("now()")),
)

# State snapshots that differed from the log and were replaced: the evidence that live folding was wrong.
wrong_checkpoints = Table(
    "wrong_checkpoints",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("kept", LargeBinary, nullable=False),
    Column("folded", LargeBinary, nullable=False),
    Column("found_at", MILLISECONDS, nullable=False, server_default=text("now()")),
)
