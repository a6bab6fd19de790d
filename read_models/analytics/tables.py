"""The analytics read model: what each rider did by hour, what the fleet did by minute."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from read_models.analytics.rows import HOUR_MAXIMA, HOUR_SUMS, MINUTE_SUMS
from read_models.rows import RowTable, metadata

NAME = "analytics"

rider_hours = Table(
    "rider_hours",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("rider_id", Text(collation="C"), primary_key=True),
    Column("hour", TIMESTAMP(timezone=True), primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in HOUR_SUMS),
    *(Column(name, BigInteger) for name in HOUR_MAXIMA),
    # By hour: "all riders since T"; by shard: comparing and dropping one.
    Index(None, "generation", "hour", "rider_id"),
    Index(None, "generation", "shard"),
    # A rider's current hour is updated with every batch: room for it on the same page.
    postgresql_with={"fillfactor": "45"},
)

fleet_minutes = Table(
    "fleet_minutes",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("minute", TIMESTAMP(timezone=True), primary_key=True),
    # One partial a shard: no two writers meet in a row, and whole shards can be compared.
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    *(Column(name, BigInteger, nullable=False) for name in MINUTE_SUMS),
    Index(None, "generation", "shard"),
)

TABLES = (
    RowTable(rider_hours, key=("rider_id", "hour"), add=HOUR_SUMS, latest=HOUR_MAXIMA),
    RowTable(fleet_minutes, key=("minute",), add=MINUTE_SUMS),
)
