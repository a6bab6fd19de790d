"""Where the embedded schema registry keeps its ids; on the same metadata, so that one ``alembic check`` covers all."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Identity, Index, Integer, Table, Text, text

from infrastructure.event_store.tables import metadata

schemas = Table(
    "schemas",
    metadata,
    # An id names one text for ever: frames in the log carry it. No statement deletes from this table.
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
    # Soft-deleted: hidden from those who do not ask for it, still readable by id.
    Column("deleted", Boolean, nullable=False, server_default=text("false")),
    Index("uq_schema_versions_live", "subject", "schema_id", unique=True, postgresql_where=text("NOT deleted")),
)

# What clients have set; the row of the subject '' is for all that have none of their own.
schema_settings = Table(
    "schema_settings",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("compatibility", Text),
    Column("mode", Text),
)
