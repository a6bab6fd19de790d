"""The slot's state as metrics, shown by whoever looks at it: the tailer, and the API also when the tailer is dead."""

from __future__ import annotations

import math

from infrastructure.cdc.slot import SlotState
from infrastructure.observability import metrics

STATUSES = ("reserved", "extended", "unreserved", "lost", "missing")


def show_slot(state: SlotState | None) -> None:
    """None: there is no slot."""
    status = "missing" if state is None else state.wal_status
    for one in STATUSES:
        metrics.SLOT_STATUS.labels(one).set(one == status)
    metrics.SLOT_RETAINED.set(0 if state is None else state.retained_bytes)
    metrics.SLOT_UNCONFIRMED.set(0 if state is None else state.behind_bytes)
    metrics.SLOT_ACTIVE.set(state is not None and state.active)
    # Without a limit no WAL is ever taken from it.
    unlimited = state is None or (state.safe_wal_size is None and not state.is_lost)
    metrics.SLOT_SAFE.set(math.inf if unlimited or state is None else state.safe_wal_size or 0)
