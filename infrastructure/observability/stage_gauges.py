"""Forgets the gauges of what a process did and does not do any more, as another process does it now, or none.

A gauge keeps its last value for as long as ``serve`` runs. A tailer that was late, lost its slot and waits now would
be shown as late for ever, and the alert would never end. NaN is no value: no comparison in a rule is true of it, and
``max`` and ``min`` take the value of another process instead.
"""

from __future__ import annotations

import math
from typing import Final

from infrastructure.observability import metrics

OF_A_STAGE: Final = (
    metrics.STAGE_POSITION,
    metrics.STAGE_LAG,
    metrics.STAGE_FRESHNESS,
    metrics.STAGE_DELAY,
    metrics.STAGE_LATE,
    metrics.STAGE_STUCK,
)
"""Every gauge of a stage but ``STAGE_CONNECTED``, which is set before each answer of ``/metrics``."""

OF_THE_TAILER: Final = (
    metrics.TAILER_IN_FLIGHT,
    metrics.SLOT_SAFE,
    metrics.SLOT_RETAINED,
    metrics.SLOT_UNCONFIRMED,
    metrics.SLOT_ACTIVE,
)

OF_PAYMENTS: Final = (
    metrics.PAYMENTS_OPEN,
    metrics.PAYMENTS_HELD,
    metrics.PAYMENTS_DIFFERING,
    metrics.PAYMENTS_OLDEST_SECONDS,
    metrics.PAYMENTS_UNPAID_HISTORY,
)

SLOT_STATUSES: Final = ("reserved", "extended", "unreserved", "lost", "missing")


def forget_stage(stage: str) -> None:
    """Show no value of ``stage``."""
    for gauge in OF_A_STAGE:
        gauge.labels(stage).set(math.nan)


def forget_freshness(stage: str) -> None:
    """Show no freshness of ``stage``, which has no other gauge that could be old."""
    metrics.STAGE_FRESHNESS.labels(stage).set(math.nan)


def forget_tailer() -> None:
    """Show no value of the tailer and of its slot."""
    forget_stage("tailer")
    for gauge in OF_THE_TAILER:
        gauge.set(math.nan)
    for status in SLOT_STATUSES:
        metrics.SLOT_STATUS.labels(status).set(math.nan)


def forget_payments() -> None:
    """Show no value of payments."""
    for gauge in OF_PAYMENTS:
        gauge.set(math.nan)
