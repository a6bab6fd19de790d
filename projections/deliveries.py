"""The deliveries projection: one row an order, for dispatchers, lists and the customer's page."""

from __future__ import annotations

from domain.features import delivery_row
from projections.core.projection import Projection
from read_models.deliveries import rows as delivery_rows
from read_models.deliveries import state as delivery_state
from read_models.deliveries import tables as deliveries

DELIVERIES = Projection(
    name=deliveries.NAME,
    stream="Delivery",
    fold_version=1,
    initial=delivery_row.EMPTY,
    fold=delivery_row.fold,
    encode=delivery_state.encode,
    decode=delivery_state.decode,
    store="postgres",
    tables=deliveries.TABLES,
    changes=delivery_rows.changes,
)
