"""Where the embedded schema registry keeps its ids; on the same metadata, so that one ``alembic check`` covers all."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Integer, Table, Text, UniqueConstraint

from infrastructure.event_store.tables import metadata

schemas = Table(
    "schemas",
    metadata,
    # An id names one text for ever: frames in the log carry it.
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
    UniqueConstraint("subject", "schema_id"),
)
