"""The completion read model: how each leg was completed, where riders really stop, and cases for the fraud desk."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP

from read_models.completion.rows import LEG_COLUMNS, PLACE_SUMS
from read_models.fraud.tables import case_rows, case_table
from read_models.rows import RowTable, metadata

NAME = "completion"

_MILLISECONDS = TIMESTAMP(timezone=True, precision=3)

completion_legs = Table(
    "completion_legs",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("order_id", Text(collation="C"), primary_key=True),
    Column("leg", Text(collation="C"), primary_key=True),
    # An order that was given to another rider has a leg of each, and the two riders may be of different shards.
    Column("rider_id", Text(collation="C"), primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("place", Text(collation="C"), nullable=False),
    Column("outcome", Text(collation="C")),
    Column("started_at", _MILLISECONDS, nullable=False),
    *(Column(name, _MILLISECONDS) for name in ("approach_at", "arrived_at", "done_at", "button_at")),
    *(Column(name, Text(collation="C")) for name in ("basis", "certainty")),
    *(Column(name, BigInteger) for name in ("distance_mm", "accuracy_mm", "button_distance_mm")),
    *(Column(name, Text(collation="C")) for name in ("approach_event", "arrived_event", "done_event", "button_event")),
    # Comparing and dropping a shard.
    Index(None, "generation", "shard"),
)

completion_places = Table(
    "completion_places",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("place", Text(collation="C"), primary_key=True),
    Column("leg", Text(collation="C"), primary_key=True),
    # One partial a shard: no two writers meet in a row, and whole shards can be compared.
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    *(Column(name, BigInteger, nullable=False) for name in PLACE_SUMS),
    Index(None, "generation", "shard"),
)

completion_cases = case_table("completion_cases")

TABLES = (
    RowTable(completion_legs, key=("order_id", "leg", "rider_id"), add=(), latest=LEG_COLUMNS),
    RowTable(completion_places, key=("place", "leg"), add=PLACE_SUMS),
    case_rows(completion_cases),
)
