"""The payouts projection: what riders are paid for the legs of deliveries, entry by entry."""

from __future__ import annotations

from domain.features.payouts import fold as payouts_fold
from domain.features.payouts.packaged import PATH
from domain.features.payouts.tariff_times import check_times
from projections.core.projection import Batching, Projection, RowPublication
from read_models.payouts import published
from read_models.payouts import rows as payout_rows
from read_models.payouts import state as payout_state
from read_models.payouts import tables as payouts

# Before anything is folded: no node may pay by the time zone of its machine.
check_times(PATH.read_text(encoding="utf-8"))

PAYOUTS = Projection(
    name=payouts.NAME,
    stream="Rider",
    # A new version of the tariff is a new version of the fold: the digest covers tariff.json (docs/payments.md).
    fold_version=1,
    initial=payouts_fold.EMPTY,
    fold=payouts_fold.fold,
    encode=payout_state.encode,
    decode=payout_state.decode,
    store="postgres",
    tables=payouts.TABLES,
    changes=payout_rows.changes,
    row_publication=RowPublication(published.TOPIC, published.RECORD, payouts.TABLES[0], published.values),
    batching=Batching.SMALL_BATCHES,
)
