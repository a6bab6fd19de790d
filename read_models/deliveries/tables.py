"""The deliveries read model: one row an order, with what its last event left."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, SmallInteger, Table, Text

from read_models.deliveries.rows import COLUMNS
from read_models.rows import RowTable, metadata

NAME = "deliveries"

deliveries = Table(
    "deliveries",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("order_id", Text(collation="C"), primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("status", Text(collation="C"), nullable=False),
    Column("rider_id", Text(collation="C")),
    *(
        Column(name, Double, nullable=False)
        for name in ("restaurant_latitude", "restaurant_longitude", "customer_latitude", "customer_longitude")
    ),
    *(Column(name, Text, nullable=False) for name in ("city", "time_zone", "currency")),
    Column("placed_at_ms", BigInteger, nullable=False),
    *(
        Column(name, BigInteger)
        for name in ("assigned_at_ms", "picked_up_at_ms", "arrived_at_ms", "completed_at_ms", "cancelled_at_ms")
    ),
    *(Column(name, BigInteger) for name in ("preparation_seconds", "promised_seconds", "items")),
    # Lists are in the order of placing: of all orders, of one status, of one rider.
    Index(None, "generation", "placed_at_ms", "order_id"),
    Index(None, "generation", "status", "placed_at_ms", "order_id"),
    Index(None, "generation", "rider_id", "placed_at_ms", "order_id"),
    # Comparing and dropping a shard.
    Index(None, "generation", "shard"),
)

TABLES = (RowTable(deliveries, key=("order_id",), add=(), latest=COLUMNS),)
