"""The payments process: hands payouts to the provider, or waits while another payments process does."""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.observability.stage_gauges import forget_payments
from infrastructure.observability.stage_reports import StageProgress, StageReporter
from infrastructure.observability.watchdog import Watchdog, WorkSample, WorkState
from infrastructure.payments.handing_over import RIDERS_AT_ONCE, HandingOver
from infrastructure.payments.provider import AnswerKind
from infrastructure.payments.webhook import WebhookProvider
from infrastructure.postgres.advisory_locks import try_session_lock
from infrastructure.postgres.payment_handovers import PaymentHandovers, UnpaidHistory
from infrastructure.process_pool import tune_gc
from infrastructure.processes.projections import BACKGROUND_NICENESS
from infrastructure.processes.runtime import STUCK_EXIT_CODE, run_until_stopped, stack_summary, stop_event
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.payments")

STAGE = "payments"
UNPAID_HISTORY = "unpaid_history"
"""In the detail of the report: why nothing is handed over; empty if payments are handed over."""
WAITING, RUNNING = "waiting", "running"
IDLE_INTERVAL_S = 1.0
"""Between two looks for what is due, while nothing is."""
REPORT_INTERVAL_S = 1.0
HISTORY_INTERVAL_S = 10.0
"""Between two looks whether a history of payouts still keeps all from being handed over: each reads all entries."""
RECONCILE_INTERVAL_S = 3_600.0
"""Between two comparisons of all entries of a generation with all hand-overs: each reads both tables."""
_TRANSIENT_ERRORS = (PortUnavailable, SinkRejected, SQLAlchemyError)


def main(settings: Settings) -> None:
    """Run until SIGTERM, with lower priority: no answer waits for a payment."""
    stop = stop_event()
    tune_gc()
    os.nice(BACKGROUND_NICENESS)
    PaymentsProcess(settings, stop).run()


class PaymentsProcess:
    """Hands over in a thread. The main thread reports, and ends the process if that thread hangs."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        """Raises ValueError if the settings name no provider."""
        if settings.payments_url is None or settings.payments_secret is None:
            raise ValueError("RIDELOG_PAYMENTS_URL and RIDELOG_PAYMENTS_SECRET name no payment provider")
        self._stop = stop
        self._provider = WebhookProvider(settings.payments_url, settings.payments_secret, time.time)
        self._backends = Backends(settings, pool_size=RIDERS_AT_ONCE + 3)
        since_ms = settings.payments_since_ms
        since = None if since_ms is None else datetime.fromtimestamp(since_ms / 1_000, UTC)
        self._handovers = PaymentHandovers(self._backends.engine, since)
        # Prometheus shows no increase for a counter whose first value is 1.
        for kind in AnswerKind:
            metrics.PAYMENTS.labels(kind.value)
        self._handing_over = HandingOver(self._handovers, self._provider, stop, self._on_answer)
        self._reporter: StageReporter | None = None
        self._state = WAITING
        self._next_reconcile = 0.0
        self._reconciled = 0
        """The generation of the last comparison: another one has other entries."""
        self._unpaid_history = ""
        self._beats = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="payments")

    def run(self) -> None:
        """Run until ``stop``. Raises the error that ended the thread, if it is not transient."""
        watchdog = Watchdog()
        self._thread.start()
        while self._thread.is_alive() and not self._stop.wait(REPORT_INTERVAL_S):
            self._report()
            found = watchdog.observe(STAGE, WorkSample(self._beats, self._beats, 0), time.monotonic())
            metrics.STAGE_STUCK.labels(STAGE).set(found.state is WorkState.HANGS)
            if found.state is WorkState.HANGS and found.give_up:
                log.critical("payments %s, at %s; this process ends", found.message, stack_summary(self._thread))
                # A thread cannot be killed, so the process ends. The next one hands over again, with the same keys.
                os._exit(STUCK_EXIT_CODE)
        self._thread.join()
        self._provider.close()
        self._backends.close()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            run_until_stopped(self._attempt, self._stop, _TRANSIENT_ERRORS, self._on_failure, STAGE)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._failure = error

    def _attempt(self) -> None:
        """Hand over until the first error. The lock of the session lets one process do it."""
        with self._backends.engine.connect() as connection:
            try:
                while not try_session_lock(connection, "ridelog/payments"):
                    connection.commit()
                    self._state = WAITING
                    self._beats += 1
                    if self._stop.wait(IDLE_INTERVAL_S):
                        return
                connection.commit()
                while not self._stop.is_set():
                    self._state = RUNNING
                    if not self._round_unless_history():
                        self._stop.wait(IDLE_INTERVAL_S)
                    # The lock is gone if its session is.
                    connection.execute(text("SELECT 1"))
                    connection.commit()
            finally:
                # Closing the session releases the lock, even if the server is unavailable.
                connection.invalidate()

    def _round_unless_history(self) -> bool:
        """A round, unless a person must first say whether an old history is paid here: `status` shows that."""
        try:
            found = self._round()
        except UnpaidHistory as error:
            if not self._unpaid_history:
                log.warning("%s: set RIDELOG_PAYMENTS_SINCE", error)
            self._unpaid_history = str(error)
            self._stop.wait(HISTORY_INTERVAL_S)
            return False
        self._unpaid_history = ""
        return found

    def _round(self) -> bool:
        """Note and hand over once. Returns whether there was anything to do."""
        self._beats += 1
        generation = self._handovers.active_generation()
        if generation is None:
            return False
        if time.monotonic() >= self._next_reconcile or generation != self._reconciled:
            missed = self._handovers.note_all(generation, self._may_go_on)
            withdrawn = self._handovers.note_withdrawn(generation)
            self._next_reconcile = time.monotonic() + RECONCILE_INTERVAL_S
            self._reconciled = generation
            if missed:
                log.info("%d payments were noted that no cursor had passed", missed)
            if withdrawn:
                log.warning("%d payments were handed over that payouts do not have now: payments list", withdrawn)
        found = self._handovers.note_new(generation)
        return bool(self._handing_over.round()) or found > 0

    def _may_go_on(self) -> bool:
        self._beats += 1
        return not self._stop.is_set()

    def _on_answer(self, kind: AnswerKind) -> None:
        self._beats += 1
        metrics.PAYMENTS.labels(kind.value).inc()

    def _report(self) -> None:
        """Report, unless another process hands over, or the thread has reported an error."""
        if self._state == WAITING:
            forget_payments()
        if self._state != RUNNING:
            return
        try:
            tally = self._handovers.tally()
            metrics.PAYMENTS_OPEN.set(tally.open)
            metrics.PAYMENTS_HELD.set(tally.held)
            metrics.PAYMENTS_DIFFERING.set(tally.differing)
            metrics.PAYMENTS_OLDEST_SECONDS.set(max(0.0, tally.oldest_s or 0.0))
            metrics.PAYMENTS_UNPAID_HISTORY.set(bool(self._unpaid_history))
            self._stage().report(StageProgress(detail=tally._asdict() | {UNPAID_HISTORY: self._unpaid_history}))
        except _TRANSIENT_ERRORS as error:
            log.warning("%s: payments cannot report", error)

    def _on_failure(self, reason: str) -> None:
        self._beats += 1
        self._state = reason
        self._backends.drop_connections()
        try:
            self._stage().report(StageProgress(state=reason))
        except SQLAlchemyError:
            return  # Postgres itself is unavailable: `status` shows this stage as silent

    def _stage(self) -> StageReporter:
        if self._reporter is None:
            self._reporter = StageReporter(self._backends.engine, STAGE)
        return self._reporter
