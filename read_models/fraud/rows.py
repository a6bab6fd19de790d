"""Computes which rows of the fraud desk an event of a rider changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from domain.features.case_file import CaseFile, case_bytes
from domain.features.spoofing.state import Review, SpoofingState
from read_models.rows import RowChange

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def changes(_key: str, state: SpoofingState) -> Sequence[RowChange]:
    """The row of the alert that the event raised or changed, and that of a review."""
    if state.alert is None and state.review is None:
        return ()
    rows = [] if state.alert is None else [case_row("fraud_alerts", state.alert, state.case_ms)]
    return rows if state.review is None else [*rows, _review_row(state.review)]


def case_row(table: str, case: CaseFile, latest_ms: int) -> RowChange:
    """The whole row of a case in a table of ``case_table``; ``latest_ms`` is when its latest signal was seen."""
    latest = (
        case.rider_id,
        _instant(case.raised_at_ms),
        _instant(latest_ms),
        case.score,
        ",".join(sorted({signal.name for signal in case.signals})),
        case.order_id,
        case.leg,
        case.position,
        case.raised_position,
        case.fold_version,
        case_bytes(case),
    )
    return RowChange(table, (case.alert_id,), (), latest)


def _review_row(review: Review) -> RowChange:
    event_id, alert_id, rider_id, verdict, by, why, at_ms, position = review
    latest = (alert_id, rider_id, verdict, by, why, _instant(at_ms), position)
    return RowChange("fraud_reviews", (event_id,), (), latest)


def _instant(ms: int) -> datetime:
    # datetime.fromtimestamp goes through a float, which is not exact to the millisecond for every instant.
    return _EPOCH + timedelta(milliseconds=ms)
