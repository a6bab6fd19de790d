"""Checks served reads all the time, a few a round, by a thread beside the projections that it must never disturb."""

from __future__ import annotations

import logging
import threading
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.operations.verify_parity import ParityEvidence, parity_evidence
from infrastructure.processes.runtime import RESTART_DELAYS_S
from infrastructure.schema_registry.client import RegistryUnavailable
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.parity.audit import AuditFindings
from projections.parity.key_walk import WalkBudget

log = logging.getLogger("ridelog.parity")

AUDIT_INTERVAL_S = 5.0
READS = 200
EVENTS = 10_000
EVENTS_OF_A_KEY = 2_500
"""Of one round: ~0.3 s of a core in 5 s at most. A longer key goes on in the next round where it was left."""


class ParityMonitor:
    """Of one projection that has a view."""

    def __init__(self, settings: Settings, projection: Projection[Any], every_s: float = AUDIT_INTERVAL_S) -> None:
        self._projection = projection
        self._every_s = every_s
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

    def round(self) -> AuditFindings:
        """Check some of what is not checked yet. Raises PortUnavailable, RegistryUnavailable."""
        if self._evidence is None:
            self._evidence = parity_evidence(self._backends, self._projection)
        reads, audit = self._evidence
        found = audit.run(reads.unchecked(READS), WalkBudget(EVENTS, EVENTS_OF_A_KEY))
        name = self._projection.name
        for verdict, count in found.totals.items():
            metrics.PARITY_CHECKED.labels(name, verdict).inc(count)
        for words in found.examples:
            log.error("not what the log says: %s; run verify-parity, then rebuild-projection %s", words, name)
        # Asked of the record, since the command puts there what it has found.
        metrics.PARITY_MISMATCHES.labels(name).set(reads.mismatches()[1])
        metrics.PARITY_UNCHECKED.labels(name).set(reads.waiting())
        return found

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self.round()
                failures = 0
            except (PortUnavailable, SinkRejected, RegistryUnavailable, SQLAlchemyError) as error:
                # Postgres is away: whoever serves says so, loud enough.
                log.info("served reads are not checked for now: %s", error)
                failures += 1
            except Exception:
                # Whatever it is, the projections go on.
                log.exception("served reads cannot be checked")
                failures += 1
            self._stop.wait(
                self._every_s + (RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S)) - 1] if failures else 0.0)
            )
