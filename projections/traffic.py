"""The traffic projection: integer sums of riders' steps by cell, heading and time, over all riders of a shard."""

from __future__ import annotations

from domain.features.traffic import fold as traffic_fold
from domain.features.traffic.partials import TRAFFIC_SLOTS, partials
from projections.core.projection import Batching, Projection
from read_models.traffic import state as traffic_state

TRAFFIC = Projection(
    name=traffic_state.NAME,
    stream="Rider",
    fold_version=1,
    initial=traffic_fold.EMPTY,
    fold=traffic_fold.fold,
    encode=traffic_state.encode,
    decode=traffic_state.decode,
    partials=partials,
    partial_slots=TRAFFIC_SLOTS,
    batching=Batching.SMALL_BATCHES,
)
