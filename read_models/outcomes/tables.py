"""The outcomes read model: how deliveries ended, by hour, by restaurant's place and hour, by rider and hour."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from read_models.outcomes.rows import SUMS
from read_models.rows import RowTable, metadata

NAME = "outcomes"


def _table(name: str, *keys: Column[str]) -> Table:
    # One partial a shard: the orders of an hour, a place or a rider are in all shards. No two writers meet in a row.
    of_hour = [] if not keys else [Index(None, "generation", "hour", keys[0].name)]
    return Table(
        name,
        metadata,
        Column("generation", Integer, primary_key=True, autoincrement=False),
        *keys,
        Column("hour", TIMESTAMP(timezone=True), primary_key=True),
        Column("shard", SmallInteger, primary_key=True, autoincrement=False),
        *(Column(column, BigInteger, nullable=False) for column in SUMS),
        # By hour: "all riders since T"; by shard: comparing and dropping one.
        *of_hour,
        Index(None, "generation", "shard"),
    )


outcome_hours = _table("outcome_hours")
outcome_places = _table("outcome_places", Column("place", Text(collation="C"), primary_key=True))
outcome_riders = _table("outcome_riders", Column("rider_id", Text(collation="C"), primary_key=True))

TABLES = (
    RowTable(outcome_hours, key=("hour",), add=SUMS),
    RowTable(outcome_places, key=("place", "hour"), add=SUMS),
    RowTable(outcome_riders, key=("rider_id", "hour"), add=SUMS),
)
