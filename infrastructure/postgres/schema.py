"""The tables of the log, of projections and of stages, for SQLAlchemy; those of audits are in ``audit_tables``.

``alembic check`` compares them all with the migrations, with the tables of the embedded schema registry.

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

MILLISECONDS = TIMESTAMP(timezone=True, precision=3)

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
    Column("event_time", MILLISECONDS, nullable=False),
    Column("recorded_at", MILLISECONDS, nullable=False),
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
    Column("recorded_at", MILLISECONDS, nullable=False),
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
    Column("created_at", MILLISECONDS, nullable=False, server_default=text("now()")),
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
    Column("discarded_at", MILLISECONDS, nullable=False, server_default=text("now()")),
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
    Column("earliest", MILLISECONDS, nullable=False),
    Column("latest", MILLISECONDS, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("verified", Boolean, nullable=False),
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
    Column("marked_at", MILLISECONDS, nullable=False, server_default=text("now()")),
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
    Column("first_at", MILLISECONDS, nullable=False, server_default=text("now()")),
    Column("last_at", MILLISECONDS, nullable=False, server_default=text("now()")),
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
    Column("reported_at", MILLISECONDS, nullable=False),
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
