"""The tables of drift: how served features and errors of ETAs were distributed, by day. They keep 400 days."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, Float, Table, Text

from infrastructure.postgres.schema import metadata

# One feature of one model on one day (UTC), compared with the model's training set. ``psi`` below ``chance_psi`` is
# what a sample of this size has by chance.
eta_drift = Table(
    "eta_drift",
    metadata,
    Column("day", Date, primary_key=True),
    Column("model_digest", Text(collation="C"), primary_key=True),
    Column("feature", Text(collation="C"), primary_key=True),
    Column("psi", Float, nullable=False),
    Column("chance_psi", Float, nullable=False),
    Column("answers", BigInteger, nullable=False),
    Column("orders", BigInteger, nullable=False),
)

# What the sampled answers of one day (UTC) said in one leg, against the hand-over of their orders.
eta_errors = Table(
    "eta_errors",
    metadata,
    Column("day", Date, primary_key=True),
    Column("model_digest", Text(collation="C"), primary_key=True),
    Column("leg", Text(collation="C"), primary_key=True),
    Column("answers", BigInteger, nullable=False),
    Column("orders", BigInteger, nullable=False),
    Column("mae_s", Float, nullable=False),
    Column("bias_s", Float, nullable=False),
    Column("p50_held", BigInteger, nullable=False),
    Column("p90_held", BigInteger, nullable=False),
)
