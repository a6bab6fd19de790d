"""The tables of learned models, for ``alembic check``: their files, which one serves, and what a shadow answered."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from infrastructure.postgres.schema import MILLISECONDS, metadata

_NOW = text("clock_timestamp()")

eta_models = Table(
    "eta_models",
    metadata,
    Column("digest", Text(collation="C"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", MILLISECONDS, server_default=_NOW, nullable=False),
    Column("created_by", Text, nullable=False),
)

# What an answer of the model depends on, as bytes. An answer on record names its model, so none is deleted.
eta_model_files = Table(
    "eta_model_files",
    metadata,
    Column("digest", Text(collation="C"), nullable=False),
    Column("name", Text(collation="C"), nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("digest", "name", name="pk_eta_model_files"),
    ForeignKeyConstraint(["digest"], ["eta_models.digest"], name="fk_eta_model_files_digest"),
)

# The newest row says which model serves; null is the packaged baseline.
eta_model_changes = Table(
    "eta_model_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("changed_at", MILLISECONDS, server_default=_NOW, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("serving", Text(collation="C")),
    Column("shadow", Text(collation="C")),
    ForeignKeyConstraint(["serving"], ["eta_models.digest"], name="fk_eta_model_changes_serving"),
    ForeignKeyConstraint(["shadow"], ["eta_models.digest"], name="fk_eta_model_changes_shadow"),
    CheckConstraint("action IN ('promote', 'shadow', 'end_shadow', 'roll_back')", name="action"),
)

shadow_etas = Table(
    "shadow_etas",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", Text(collation="C"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("leg", Text, nullable=False),
    Column("serving_digest", Text(collation="C"), nullable=False),
    Column("serving_p50_s", Float, nullable=False),
    Column("serving_p90_s", Float, nullable=False),
    Column("shadow_digest", Text(collation="C"), nullable=False),
    Column("shadow_p50_s", Float, nullable=False),
    Column("shadow_p90_s", Float, nullable=False),
    Column("outside_training", Boolean, nullable=False),
    Index("ix_shadow_etas_shadow_digest", "shadow_digest", "id"),
)
