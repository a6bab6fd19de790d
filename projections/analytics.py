"""The analytics projection: hours of riders and minutes of the fleet, as rows for analysts."""

from __future__ import annotations

from domain.features import rider_hours
from projections.protocol import Projection
from read_models import analytics, analytics_rows, analytics_state

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
    # A rider's hour is written once a batch, however many of its pings are in it.
    patient=True,
)
