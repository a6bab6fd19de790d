"""Audits served reads continuously, a few per round, in a thread that must never disturb the projections."""

from __future__ import annotations

import logging
from typing import Any

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.operations.audit_thread import AuditThread
from infrastructure.operations.verify_parity import ParityEvidence, parity_evidence
from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
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
        self._backends = Backends(settings, pool_size=1)
        self._evidence: ParityEvidence | None = None
        self._thread = AuditThread(f"parity-{projection.name}", "served reads", self.run_round, interval_s)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()
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
