"""The analytics projection: hours of riders and minutes of the fleet, as rows for analysts."""

from __future__ import annotations

from domain.features import rider_hours
from projections.core.projection import Batching, Projection
from read_models.analytics import rows as analytics_rows
from read_models.analytics import state as analytics_state
from read_models.analytics import tables as analytics

ANALYTICS = Projection(
    name=analytics.NAME,
    stream="Rider",
    fold_version=2,
    initial=rider_hours.EMPTY,
    fold=rider_hours.fold,
    encode=analytics_state.encode,
    decode=analytics_state.decode,
    store="postgres",
    tables=analytics.TABLES,
    changes=analytics_rows.changes,
    # A batch writes each rider hour once, however many of its pings the batch has.
    batching=Batching.HIGH_THROUGHPUT,
)
