"""Audits the recorded ETAs: all of them on command, and some in each round of the monitor.

Needs Postgres, and the schema registry if it is an external one; no other server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from domain.features.eta.baseline import EtaModel
from infrastructure.backends import Backends
from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.eta_models.served_models import LoadedModels
from infrastructure.operations.verify_city import CityVerifier
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots
from infrastructure.postgres.served_etas import PostgresServedEtas
from infrastructure.postgres.served_reads import PostgresServedReads
from infrastructure.training_sets.manifest import numeric_fingerprint
from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from projections.orders import ORDERS
from projections.parity.audit import describe_wrong_snapshot
from projections.parity.audit_limits import FoldBudget
from projections.parity.city_audit import CheckedCity
from projections.parity.eta_audit import AuditedCity, CheckedEta, CityOf, EtaAudit, EtaCode
from projections.parity.eta_findings import EtaFindings
from projections.parity.key_states import KeyStates
from projections.parity.key_walk import WalkBudget
from projections.parity.served_etas import EtaVerdict, LoggedEta, eta_code_digest
from projections.parity.served_reads import WrongSnapshot
from projections.speed import SPEED

ETA = "eta"
"""The name of this audit in metrics and on the command line, where others have the name of a projection."""
BATCH_ETAS = 10_000
"""Answers in memory at once, about 2 KB each. Each key that they name is walked once a batch."""
CHUNK_EVENTS = 20_000
"""Events of the city folded between two reports of progress."""

ModelOf = Callable[[str], EtaModel | None]


def models_of(backends: Backends) -> ModelOf:
    """The models of this code and of the registry. What it returns raises PortUnavailable."""
    return LoadedModels(ModelRegistry(backends.engine)).model_of


class EtaVerifier:
    """Checks batches of recorded answers and records the verdicts.

    Raises PortUnavailable and RegistryUnavailable; verdicts recorded before that stay recorded.
    """

    def __init__(self, backends: Backends, model_of: ModelOf | None = None) -> None:
        """``model_of``: None for ``models_of``."""
        model_of = model_of or models_of(backends)
        self.etas = PostgresServedEtas(backends.engine)
        self.findings = EtaFindings()
        self.code_digest = eta_code_digest()
        self._backends = backends
        self._model_of = model_of
        orders, riders = (self._states(backends, projection) for projection in (ORDERS, SPEED))
        self._code = EtaCode(self.code_digest, numeric_fingerprint(), model_of, self._folds)
        self._audit = EtaAudit(orders, riders, self._code)
        self._generations: Mapping[str, Sequence[Any]] = {}

    @property
    def events(self) -> int:
        """Events of orders and riders folded so far."""
        return self._audit.events

    def forget(self) -> None:
        """Forget what was folded: the log is another one."""
        self._audit.forget()

    def check(
        self,
        batch: Sequence[LoggedEta],
        city_of: CityOf,
        budget: WalkBudget | None = None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> list[CheckedEta]:
        """Check a batch, until ``is_over``, and record the verdicts."""
        self._generations = self._backends.generations.all_by_projection()
        log_id = self._backends.log.head(ORDERS.stream).log_id
        found: list[CheckedEta] = []
        changed: dict[EtaVerdict, list[int]] = {}
        for checked in self._audit.check(batch, log_id, city_of, budget):
            found.append(checked)
            self.findings.add(checked)
            if checked.verdict != checked.logged.verdict:
                changed.setdefault(checked.verdict, []).append(checked.logged.id)
            if is_over():
                break
        self.etas.record(changed)
        return found

    def _states(self, backends: Backends, projection: Projection[Any]) -> KeyStates[Any]:
        reads = PostgresServedReads(backends.engine, projection.name)

        def on_wrong(wrong: WrongSnapshot) -> None:
            reads.record_wrong(wrong)
            self.findings.wrong_snapshots += 1
            self.findings.add_example(describe_wrong_snapshot(wrong))

        return KeyStates(backends.replay_source(projection), backends.snapshots(projection), on_wrong)

    def _folds(self, name: str, generation: int) -> bool:
        known = [one for one in self._generations.get(name, ()) if one.number == generation]
        return any(one.is_of(PROJECTIONS[name]) for one in known)


def audited(checked: CheckedCity) -> AuditedCity:
    """What an answer that names this snapshot is checked with."""
    return AuditedCity(checked.city.digest, checked.verdict, checked.content, checked.why)


class NamedCities:
    """The snapshots that answers name, each merged from the log when it is asked for, in ascending order."""

    def __init__(self, backends: Backends, on_restart: Callable[[], None], on_progress: Callable[[], None]) -> None:
        self._cities = PostgresCitySnapshots(backends.engine, backends.settings.city_snapshots_keep)
        self._verifier = CityVerifier(backends, on_restart=on_restart, confirms=True)
        self._on_progress = on_progress
        self._last: tuple[int, AuditedCity | None] = (0, None)

    @property
    def events(self) -> int:
        """Events of the city folded so far."""
        return self._verifier.events

    def __call__(self, number: int) -> AuditedCity | None:
        if self._last[0] != number:
            city = self._cities.record(number)
            checked = None
            while city is not None and checked is None:
                checked = self._verifier.check(city, FoldBudget(events=CHUNK_EVENTS))
                self._on_progress()
            self._last = number, None if checked is None else audited(checked)
        return self._last[1]


def verify_eta(
    backends: Backends,
    since_ms: int,
    on_progress: Callable[[int, int], None] = lambda answers, events: None,
    model_of: ModelOf | None = None,
) -> tuple[EtaFindings, int]:
    """Audit all answers recorded since then. Returns the findings, and how many events were folded.

    ``on_progress`` gets the answers checked and the events folded so far. Raises as EtaVerifier does.
    """
    verifier = EtaVerifier(backends, model_of)

    def report() -> None:
        on_progress(verifier.findings.checked, verifier.events + cities.events)

    cities = NamedCities(backends, verifier.forget, report)
    for batch in verifier.etas.scan(since_ms, BATCH_ETAS):
        verifier.check(batch, cities)
        report()
    return verifier.findings, verifier.events + cities.events


def document(findings: EtaFindings, events: int, seconds: float, on_record: int) -> Mapping[str, object]:
    """The findings as a JSON document. ``on_record``: mismatches of this code and of the generations read now."""
    return {
        "projection": ETA,
        "answers": findings.checked,
        "verdicts": {verdict.replace(" ", "_"): count for verdict, count in findings.totals.items()},
        "wrong_checkpoints": findings.wrong_snapshots,
        "events_folded": events,
        "seconds": round(seconds, 3),
        "answers_per_second": round(findings.checked / max(seconds, 1e-3)),
        "mismatches_on_record": on_record,
        "examples": findings.examples,
    }


def lines(findings: EtaFindings, events: int, seconds: float) -> Iterable[str]:
    """The totals by verdict, and examples of differences."""
    if not findings.checked:
        return ["nothing to check: no ETAs are recorded (see served_etas_share and --since)"]
    totals = ", ".join(f"{count:,} {verdict}" for verdict, count in findings.totals.items() if count)
    rate = f"{events:,} events folded in {seconds:.1f} s, {findings.checked / max(seconds, 1e-3):,.0f} answers a second"
    summary = [f"{findings.checked:,} served ETAs: {totals}; {rate}"]
    if findings.wrong_snapshots:
        summary.append(f"{findings.wrong_snapshots:,} state snapshots were wrong and have been replaced")
    return [*summary, *findings.examples]


def advice(findings: EtaFindings, on_record: int) -> str:
    """One line that says what to do; "" if nothing is wrong."""
    if not findings.different and not findings.wrong_snapshots:
        return ""
    what = f"{findings.different:,} ETAs and {findings.wrong_snapshots:,} state snapshots disagree with the log"
    if on_record or findings.wrong_snapshots:
        return (
            f"{what}: run `verify-parity` and `verify-parity city`, then `rebuild-projection` for the projection that "
            "they name; if none is wrong, an order's state is: `rebuild-projection orders`"
        )
    return f"{what}, none of a generation that is read now: check only later answers, with --since"
