"""All tables of ridelog in Postgres, for SQLAlchemy. ``alembic check`` compares them with the migrations.

This includes the tables of the embedded schema registry, so that one ``alembic check`` covers everything.

``event_store/partitions.py`` creates the partitions of ``events`` as the log grows, and their unique indexes: a unique
index on the partitioned table itself would have to contain the position.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_MILLISECONDS = TIMESTAMP(timezone=True, precision=3)

events = Table(
    "events",
    metadata,
    Column("position", BigInteger, nullable=False, autoincrement=False),
    Column("stream", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("aggregate_id", UUID(as_uuid=True), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("aggregate_type", Text, nullable=False),
    Column("aggregate_key", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("event_id", UUID(as_uuid=True), nullable=False),
    Column("event_time", _MILLISECONDS, nullable=False),
    Column("recorded_at", _MILLISECONDS, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    # Null for pings: the partial indexes cost an append of pings nothing but the test of their conditions.
    Column("command_id", Text),
    Column("caused_by", UUID(as_uuid=True)),
    Index("ix_events_position", "position"),
    Index("ix_events_identity", "aggregate_id", "event_time", "event_id"),
    Index("ix_events_command_id", "command_id", postgresql_where=text("command_id IS NOT NULL")),
    Index("ix_events_caused_by", "caused_by", postgresql_where=text("caused_by IS NOT NULL")),
    postgresql_partition_by="RANGE (position)",
)

# The log's identity. The lock of this row is the lock of the whole log (invariant 1); no append updates it.
log_head = Table(
    "log_head",
    metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("log_id", UUID(as_uuid=True), nullable=False, server_default=text("gen_random_uuid()")),
    CheckConstraint('"only"', name="one_row"),
)

# The last assigned numbers. The newest row is the head of the log, older ones are pruned (``log_head.write_head``).
log_numbers = Table(
    "log_numbers",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("recorded_at", _MILLISECONDS, nullable=False),
    Column("seqs", JSONB, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("aggregate_id", UUID(as_uuid=True), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("topic", Text, nullable=False),
    Column("state", LargeBinary, nullable=False),
)

projection_generations = Table(
    "projection_generations",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("fold_version", Integer, nullable=False),
    Column("fold_digest", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'following'")),
    Column("comparison", JSONB),
    Column("created_at", _MILLISECONDS, nullable=False, server_default=text("now()")),
    # Readers follow the one active generation. With two, the answer would depend on chance.
    Index(
        "uq_projection_generations_active",
        "projection",
        unique=True,
        postgresql_where=text("active"),
    ),
)

# What the Postgres sinks store; the rows of read models are in their own tables. The lock of a row of projection_shards
# is the lock of that shard of a generation. The row is never updated.
projection_shards = Table(
    "projection_shards",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
)

# The newest row of a shard is its fence; older ones are pruned.
projection_fences = Table(
    "projection_fences",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("log_id", Text, nullable=False),
    Column("incarnation", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("event", Text, nullable=False, server_default=text("''")),
)

projection_states = Table(
    "projection_states",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("state", LargeBinary, nullable=False),
    # Room for the next version on the same page: updates stay heap-only, which makes a batch a third quicker.
    postgresql_with={"fillfactor": "45"},
)

projection_parked = Table(
    "projection_parked",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("parked", JSONB, nullable=False),
)

# Events that an operator discarded for a projection. Live folding, rebuild and replay all skip them.
discarded_events = Table(
    "discarded_events",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("discarded_at", _MILLISECONDS, nullable=False, server_default=text("now()")),
    Column("why", Text, nullable=False),
)

# State snapshots of keys along their streams: a cache of one fold, deleted with its last generation.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("projection", Text, primary_key=True),
    Column("fold_digest", Text, primary_key=True),
    Column("aggregate_id", UUID(as_uuid=True), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    # Event times of the last ``every`` versions up to this one.
    Column("every", Integer, nullable=False),
    Column("earliest", _MILLISECONDS, nullable=False),
    Column("latest", _MILLISECONDS, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("verified", Boolean, nullable=False),
)

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
    Column("found_at", _MILLISECONDS, nullable=False, server_default=text("now()")),
)

# Relay checkpoints: the highest position such that it and all earlier ones are acknowledged by the topics. The newest
# row of a relay is valid; older ones are pruned.
relay_marks = Table(
    "relay_marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("log_id", UUID(as_uuid=True), nullable=False),
    Column("position", BigInteger, nullable=False),
    # Stored before it is confirmed to the slot. So a slot with a higher LSN is not the one that this relay left.
    Column("confirmed_lsn", BigInteger, nullable=False, server_default=text("0")),
    Column("topics", JSONB, nullable=False, server_default=text("'{}'")),
    Column("marked_at", _MILLISECONDS, nullable=False, server_default=text("now()")),
)

# Which components found data that does not match the log, since an operator last accepted the findings.
restores = Table(
    "restores",
    metadata,
    Column("found_by", Text, primary_key=True),
    Column("words", Text, nullable=False),
    # The highest position that was found and is not in this log, and the end of the log at that time.
    Column("beyond", BigInteger, nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("first_at", _MILLISECONDS, nullable=False, server_default=text("now()")),
    Column("last_at", _MILLISECONDS, nullable=False, server_default=text("now()")),
)

# The stages that report, by process; a row is never updated.
stages = Table(
    "stages",
    metadata,
    Column("stage", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
)

# The newest row of a process is its report; older ones are pruned.
stage_reports = Table(
    "stage_reports",
    metadata,
    Column("stage", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("reported_at", _MILLISECONDS, nullable=False),
    Column("progress", JSONB, nullable=False),
)

schemas = Table(
    "schemas",
    metadata,
    # An id names one text for ever, since frames in the log contain it. No statement deletes from this table.
    Column("id", Integer, Identity(always=False), primary_key=True),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("schema", Text, nullable=False),
)

schema_versions = Table(
    "schema_versions",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("schema_id", Integer, ForeignKey("schemas.id"), nullable=False),
    # Soft-deleted: hidden unless a client asks for deleted versions, still readable by id.
    Column("deleted", Boolean, nullable=False, server_default=text("false")),
    Index("uq_schema_versions_live", "subject", "schema_id", unique=True, postgresql_where=text("NOT deleted")),
)

# What clients have set. The row of the subject '' applies to all subjects without a row of their own.
schema_settings = Table(
    "schema_settings",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("compatibility", Text),
    Column("mode", Text),
)
