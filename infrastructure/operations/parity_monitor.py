"""Audits served reads continuously, a few per round, in a thread that must never disturb the projections."""

from __future__ import annotations

import logging
import threading
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.operations.verify_parity import ParityEvidence, parity_evidence
from infrastructure.schema_registry.client import RegistryUnavailable
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.core.retry import SERVICE_RETRY_DELAYS_S, RetryDelays
from projections.parity.audit import AuditFindings
from projections.parity.key_walk import WalkBudget

log = logging.getLogger("ridelog.parity")

AUDIT_INTERVAL_S = 5.0
MAX_ROUND_READS = 200
MAX_ROUND_EVENTS = 10_000
MAX_KEY_EVENTS = 2_500
"""Limits of one round: at most ~0.3 s of a core in 5 s. The audit of a longer key resumes in the next round."""


class ParityMonitor:
    """Audits the answers of one projection that has a view."""

    def __init__(self, settings: Settings, projection: Projection[Any], interval_s: float = AUDIT_INTERVAL_S) -> None:
        self._projection = projection
        self._interval_s = interval_s
        self._backends = Backends(settings, pool_size=1)
        self._evidence: ParityEvidence | None = None
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"parity-{projection.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)
        self._backends.close()

    def run_round(self) -> AuditFindings:
        """Audit some of the unchecked reads. Raises PortUnavailable, RegistryUnavailable."""
        if self._evidence is None:
            self._evidence = parity_evidence(self._backends, self._projection)
        _, reads, audit = self._evidence
        found = audit.run(reads.unchecked(MAX_ROUND_READS), WalkBudget(MAX_ROUND_EVENTS, MAX_KEY_EVENTS))
        name = self._projection.name
        for verdict, count in found.totals.items():
            metrics.PARITY_CHECKED.labels(name, verdict).inc(count)
        for example in found.examples:
            log.error("a read differs from the log: %s; run verify-parity, then rebuild-projection %s", example, name)
        # Counted on record, because the command `verify-parity` stores its findings there too.
        metrics.PARITY_MISMATCHES.labels(name).set(reads.mismatches()[1])
        metrics.PARITY_UNCHECKED.labels(name).set(reads.waiting())
        return found

    def _run(self) -> None:
        delays = RetryDelays(SERVICE_RETRY_DELAYS_S)
        while not self._stop.is_set():
            try:
                self.run_round()
                delays.reset()
                retry_s = 0.0
            except (PortUnavailable, SinkRejected, RegistryUnavailable, SQLAlchemyError) as error:
                # At INFO only: the stages themselves already report the unavailable server.
                log.info("served reads are not audited for now: %s", error)
                retry_s = delays.next_s()
            except Exception:
                # No error of the audit may stop the projections.
                log.exception("served reads cannot be audited")
                retry_s = delays.next_s()
            self._stop.wait(self._interval_s + retry_s)
