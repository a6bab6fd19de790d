"""The orders projection: what the ETA needs of an order, and the sums of open and finished orders by cell."""

from __future__ import annotations

from domain.features import orders
from projections.core.projection import Projection
from read_models.orders import state as order_state

ORDERS = Projection(
    name=order_state.NAME,
    stream="Delivery",
    fold_version=2,
    initial=orders.EMPTY,
    fold=orders.fold,
    encode=order_state.encode,
    decode=order_state.decode,
    partials=orders.partials,
    partial_slots=orders.PARTIAL_SLOTS,
)
