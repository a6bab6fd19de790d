"""The completion projection: for each leg when it was approached, reached and done, by what, and how surely."""

from __future__ import annotations

from domain.features.completion import fold as completion_fold
from domain.features.completion.case import FOLD_VERSION
from projections.core.projection import Batching, Projection
from read_models.completion import rows as completion_rows
from read_models.completion import state as completion_state
from read_models.completion import tables as completion

COMPLETION = Projection(
    name=completion.NAME,
    stream="Rider",
    fold_version=FOLD_VERSION,
    initial=completion_fold.EMPTY,
    fold=completion_fold.fold,
    encode=completion_state.encode,
    decode=completion_state.decode,
    store="postgres",
    tables=completion.TABLES,
    changes=completion_rows.changes,
    batching=Batching.SMALL_BATCHES,
)
