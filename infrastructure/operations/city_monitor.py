"""Audits the city snapshots continuously, and the ETAs that name them, next to the audit of served reads."""

from __future__ import annotations

import logging
import time

import msgspec

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.observability.stage_reports import StageProgress, StageReporter
from infrastructure.operations.audit_thread import AuditThread
from infrastructure.operations.eta_monitor import HELD_CITIES, EtaMonitor
from infrastructure.operations.verify_city import CITY, CityVerifier, recorded_findings
from infrastructure.settings.settings import Settings
from projections.parity.audit_limits import FoldBudget
from projections.parity.city_audit import CheckedCity, CityVerdict, describe_city
from projections.parity.city_findings import CITY_AUDIT_STAGE

log = logging.getLogger("ridelog.parity")

AUDIT_INTERVAL_S = 5.0
MAX_STEP_S = 0.5
"""Bounds one round: at most a tenth of a core, also while the audit catches up."""


class CityMonitor:
    """Audits snapshots in a thread. Its findings are the report of the stage ``city-audit``.

    Each verdict is on record with its snapshot, so that the findings outlive the process and ``serve``. The tables are
    dumped hourly: a new process starts there.
    """

    def __init__(self, settings: Settings, interval_s: float = AUDIT_INTERVAL_S) -> None:
        self._backends = Backends(settings, pool_size=1)
        self._verifier: CityVerifier | None = None
        self._etas: EtaMonitor | None = None
        self._reporter: StageReporter | None = None
        self._thread = AuditThread("city-audit", "city snapshots and ETAs", self.run_round, interval_s)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()
        self._backends.close()

    def run_round(self) -> list[CheckedCity]:
        """Audit some snapshots. Raises PortUnavailable, RegistryUnavailable, SQLAlchemyError."""
        if self._verifier is None or self._reporter is None or self._etas is None:
            self._reporter = StageReporter(self._backends.engine, CITY_AUDIT_STAGE)
            self._etas = EtaMonitor(self._backends)
            self._verifier = CityVerifier(
                self._backends,
                recorded_findings(self._backends),
                on_restart=self._etas.forget,
                on_equal=self._store_dumps,
            )
        until, findings = time.monotonic() + MAX_STEP_S, self._verifier.findings
        # Not more snapshots than the audit of their answers holds: it would never look for the answers of the others.
        most = findings.checked + HELD_CITIES
        checked = self._verifier.step(FoldBudget(is_over=lambda: findings.checked >= most or time.monotonic() >= until))
        for one in checked:
            metrics.PARITY_CHECKED.labels(CITY, one.verdict).inc()
            if one.verdict == CityVerdict.DIFFERENT:
                log.error("a city snapshot differs from the log: %s; run verify-parity city", describe_city(one))
        metrics.PARITY_MISMATCHES.labels(CITY).set(findings.different)
        metrics.PARITY_UNCHECKED.labels(CITY).set(findings.behind)
        self._reporter.report(StageProgress(detail=msgspec.to_builtins(findings)))
        self._etas.run_round(checked)
        return checked

    def _store_dumps(self) -> None:
        assert self._verifier is not None
        if self._verifier.store_dumps_if_due():
            log.info("the tables of the audit of the city are dumped: the next process starts there")
