"""The calibration projection: the scores of served ETAs, by hour of completion, leg and city, over all orders."""

from __future__ import annotations

from domain.features.calibration import fold as calibration_fold
from projections.core.projection import Batching, Projection
from read_models.calibration import state as calibration_state

CALIBRATION = Projection(
    name=calibration_state.NAME,
    stream="Delivery",
    fold_version=1,
    initial=calibration_fold.EMPTY,
    fold=calibration_fold.fold,
    encode=calibration_state.encode,
    decode=calibration_state.decode,
    partials=calibration_fold.partials,
    partial_slots=calibration_fold.PARTIAL_SLOTS,
    batching=Batching.SMALL_BATCHES,
)
