"""The spoofing projection: alerts about forged positions with their case files, and the reviews of all alerts."""

from __future__ import annotations

from domain.features.spoofing import fold as spoofing_fold
from domain.features.spoofing import signals
from domain.features.spoofing.state import EMPTY
from projections.core.projection import Batching, Projection
from read_models.fraud import rows as fraud_rows
from read_models.fraud import state as spoofing_state
from read_models.fraud import tables as fraud

SPOOFING = Projection(
    name=fraud.NAME,
    stream="Rider",
    fold_version=signals.FOLD_VERSION,
    initial=EMPTY,
    fold=spoofing_fold.fold,
    encode=spoofing_state.encode,
    decode=spoofing_state.decode,
    store="postgres",
    tables=fraud.TABLES,
    changes=fraud_rows.changes,
    # A case is read by people, minutes later; a batch writes each rider's state once.
    batching=Batching.HIGH_THROUGHPUT,
)
