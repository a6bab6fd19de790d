"""The outcomes projection: how deliveries ended, how long each stage took, and how late they were."""

from __future__ import annotations

from domain.features.outcomes import fold as outcomes
from projections.core.projection import Batching, Projection
from read_models.outcomes import rows as outcome_rows
from read_models.outcomes import state as outcome_state
from read_models.outcomes import tables as outcome_tables

OUTCOMES = Projection(
    name=outcome_tables.NAME,
    stream="Delivery",
    fold_version=1,
    initial=outcomes.EMPTY,
    fold=outcomes.fold,
    encode=outcome_state.encode,
    decode=outcome_state.decode,
    store="postgres",
    tables=outcome_tables.TABLES,
    changes=outcome_rows.changes,
    # A batch writes each row once, however many orders ended in that hour.
    batching=Batching.HIGH_THROUGHPUT,
)
