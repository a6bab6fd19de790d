"""Audits served ETAs in rounds, next to the audit of the city snapshots that they name."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.operations.verify_eta import ETA, EtaVerifier, audited
from projections.parity.city_audit import CheckedCity
from projections.parity.eta_audit import AuditedCity, CheckedEta
from projections.parity.eta_findings import describe_eta
from projections.parity.key_walk import WalkBudget
from projections.parity.served_etas import EtaVerdict

log = logging.getLogger("ridelog.parity")

HELD_CITIES = 6
"""Snapshots whose answers are still looked for after their audit: answers are written a second after they were sent,
and processes of the API follow the newest snapshot at their own times. A city has some megabytes."""
MAX_ROUND_ETAS = 2_500
MAX_ROUND_EVENTS = 10_000
MAX_KEY_EVENTS = 2_500
"""The audit of a longer key resumes in the next round."""
MAX_ROUND_S = 0.5
"""Bounds one round: at most a tenth of a core. Answers beyond it stay unchecked, for ``verify-parity eta``."""


class EtaMonitor:
    """Checks the answers that name one of the last audited snapshots, or none. Raises as EtaVerifier does."""

    def __init__(self, backends: Backends) -> None:
        self._verifier = EtaVerifier(backends)
        self._cities: OrderedDict[int, AuditedCity] = OrderedDict()

    def forget(self) -> None:
        """Forget what was folded: the log is another one."""
        self._verifier.forget()
        self._cities.clear()

    def run_round(self, cities: Sequence[CheckedCity]) -> list[CheckedEta]:
        """Check some answers; ``cities`` were audited since the last round."""
        for checked in cities:
            self._cities[checked.city.number] = audited(checked)
        while len(self._cities) > HELD_CITIES:
            self._cities.popitem(last=False)
        until = time.monotonic() + MAX_ROUND_S
        etas = self._verifier.etas
        found = self._verifier.check(
            etas.unchecked_of(list(self._cities), MAX_ROUND_ETAS),
            self._cities.get,
            WalkBudget(MAX_ROUND_EVENTS, MAX_KEY_EVENTS),
            lambda: time.monotonic() >= until,
        )
        for one in found:
            metrics.PARITY_CHECKED.labels(ETA, one.verdict).inc()
            if one.verdict == EtaVerdict.DIFFERENT:
                log.error("an ETA differs from the log: %s; run verify-parity eta", describe_eta(one))
        # Counted on record, because the command `verify-parity eta` stores its verdicts there too.
        metrics.PARITY_MISMATCHES.labels(ETA).set(etas.mismatches(self._verifier.code_digest))
        metrics.PARITY_UNCHECKED.labels(ETA).set(etas.waiting())
        return found
