"""The status line of payments: what the payment provider does not have yet, and what a person decides. Pure."""

from __future__ import annotations

from infrastructure.observability.stage_reports import StageReport
from infrastructure.postgres.payment_handovers import HandoverTally
from infrastructure.status.failure_text import failure_text
from infrastructure.status.lines import StatusLine

NO_PROVIDER = "no provider is set: nothing is handed over"
LATE_FACTOR = 10
"""A provider has its own pace: payments count as late after so many times as long as a ping."""


def payment_line(
    report: StageReport | None, tally: HandoverTally, late_after_s: float, *, has_provider: bool
) -> StatusLine:
    """The line of payments.

    ``report``: of a process that hands over, here or on another node; None if there is none. ``has_provider``: whether
    the settings of this machine name a provider. Having none is no error.
    """
    runs = report is not None and (has_provider or report.connected)
    state: str
    faults: list[str]
    if not runs and not has_provider:
        state, faults = NO_PROVIDER, []
    else:
        state, faults = _process(report)
    if runs and report is not None and (history := report.progress.detail.get("unpaid_history")):
        state += f"; {history}"
        faults.append(
            "set RIDELOG_PAYMENTS_SINCE to the end of the first leg that is paid here, or to 1970-01-01T00:00:00Z to "
            "pay all, and restart"
        )
    if runs and tally.retried:
        state += f"; {tally.retried:,} were tried and are not taken yet"
        if (tally.oldest_s or 0.0) > LATE_FACTOR * late_after_s:
            faults.append("the provider does not take them: see the log of payments, and the provider's")
    if tally.held:
        state += f"; {tally.held:,} held, and the later ones of their riders wait"
        faults.append("`python app.py payments list` says why; then `payments retry` or `payments skip`")
    if tally.differing:
        state += f"; {tally.differing:,} paid with another amount than payouts say now"
        faults.append("`python app.py payments list` shows them; settle the difference, then `payments settle`")
    lag = tally.open if runs or has_provider else None
    seconds = tally.oldest_s if lag else None
    return StatusLine("payments", state, None, lag, seconds, "; ".join(faults))


def _process(report: StageReport | None) -> tuple[str, list[str]]:
    if report is None:
        return "not running", ["start `python app.py serve`"]
    if not report.alive:
        return "its process has ended", ["`serve` restarts it in a moment; if not, see its log"]
    if report.progress.state != "running":
        failure = failure_text(report.progress.state)
        return failure.state, [failure.advice]
    if not report.connected:
        return f"silent for {report.age_s:.0f} s", ["is `serve` running? see its log, and restart it"]
    return "running", []
