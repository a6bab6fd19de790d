"""Audits the recorded city snapshots, some in each step, for the monitor and for ``verify-parity city``.

Needs Postgres, and the schema registry if it is an external one; no other server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from infrastructure.backends import Backends
from infrastructure.postgres.audit_dumps import PostgresAuditDumps
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots, StoredCity
from projections.parity.audit_limits import FoldBudget
from projections.parity.city_audit import CheckedCity, CityAudit, CityVerdict
from projections.parity.city_findings import CityFindings
from projections.replay.city import CITY_PROJECTIONS, city_code_digest, city_sources

log = logging.getLogger("ridelog.parity")

CITY = "city"
"""The name of this audit in metrics and on the command line, where others have the name of a projection."""
DUMP_INTERVAL_S = 3_600.0
"""A new process of the audit folds the events of at most so long again."""
CHECKED_OF_BACKLOG = 30
"""Of the snapshots that wait, about so many are checked: an audit that is behind checks fewer, and catches up."""


def recorded_findings(backends: Backends) -> CityFindings:
    """The findings on record, of all audits so far. Raises PortUnavailable."""
    return PostgresCitySnapshots(backends.engine, backends.settings.city_snapshots_keep).findings(city_code_digest())


class CityVerifier:
    """Audits snapshots in the order of their numbers, from the one after ``findings.number`` on.

    Raises PortUnavailable and RegistryUnavailable; what was found before stays valid, and the next step goes on.
    """

    def __init__(
        self,
        backends: Backends,
        findings: CityFindings | None = None,
        since_ms: int = 0,
        *,
        on_restart: Callable[[], None] = lambda: None,
        on_equal: Callable[[], object] = lambda: None,
        confirms: bool = False,
    ) -> None:
        """``on_restart`` is called when the audit begins again: the log is another one, or a vector goes back.

        ``on_equal`` is called while the tables are those of a snapshot that was EQUAL: at the end of a step, and on the
        way through a backlog. ``confirms``: a difference found from a dump is checked again from the first event.
        """
        self.findings = CityFindings() if findings is None else findings
        self._backends = backends
        self._cities = PostgresCitySnapshots(backends.engine, backends.settings.city_snapshots_keep)
        self._dumps = PostgresAuditDumps(backends.engine)
        self._audit = CityAudit(
            city_sources(backends.archive, backends.decode),
            self._on_restart,
            dumps=self._dumps,
            on_ignored_dump=lambda reason: log.warning("%s", reason),
            confirms=confirms,
        )
        self._since_ms = since_ms
        self._restarted = on_restart
        self._on_equal = on_equal
        self._next = self.findings.number + 1
        self._current: StoredCity | None = None

    @property
    def events(self) -> int:
        """Events folded so far."""
        return self._audit.events

    def step(self, budget: FoldBudget, *, every: bool = False) -> list[CheckedCity]:
        """Audit snapshots until the budget ends or none is left. ``every``: leave none out, however many wait."""
        newest = self._cities.newest()
        found: list[CheckedCity] = []
        if newest is not None and newest.number < self.findings.number:
            # The database was restored to an older state, and the numbers with it.
            self.findings.number, self._next, self._current = 0, newest.number, None
        while newest is not None and not budget.is_spent():
            if self._current is None:
                self._current = self._cities.following(self._next, self._since_ms)
            city = self._current
            if city is None:
                break
            checked = self.check(city, budget)
            if checked is not None:
                # On record first: a crash between the two only checks this snapshot once more.
                self._cities.record_verdict(city.number, checked.verdict)
                self.findings.add(checked)
                found.append(checked)
                self._current = None
                left_out = 0 if every else max(0, newest.number - city.number) // CHECKED_OF_BACKLOG
                self._next = city.number + 1 + left_out
                if checked.verdict == CityVerdict.EQUAL and left_out:
                    self._on_equal()
        if found and found[-1].verdict == CityVerdict.EQUAL and self._current is None:
            self._on_equal()
        if newest is not None:
            self.findings.behind = max(0, newest.number - self.findings.number)
        return found

    def check(self, city: StoredCity, budget: FoldBudget) -> CheckedCity | None:
        """Check one snapshot, not earlier than the last one. Returns None if the budget ended first: call it again."""
        return self._other_code(city) or self._audit.check(city, budget)

    def store_dumps_if_due(self, interval_s: float = DUMP_INTERVAL_S) -> bool:
        """Store the tables as a start for later audits, unless the newest dump is younger than ``interval_s``.

        Only right after a snapshot that was EQUAL. Returns whether they were stored. Raises SinkRejected.
        """
        ages = [self._dumps.age_s(projection.name) for projection in CITY_PROJECTIONS]
        if all(age is not None and age < interval_s for age in ages):
            return False
        self._audit.store_dumps()
        return True

    def is_done(self) -> bool:
        """Whether no snapshot that is recorded now is left."""
        return self._current is None and self._cities.following(self._next, self._since_ms) is None

    def _other_code(self, city: StoredCity) -> CheckedCity | None:
        if city.code_digest != city_code_digest():
            return CheckedCity(city, CityVerdict.OTHER_CODE, why="other code merged it")
        generations = self._backends.generations.all_by_projection()
        for projection in CITY_PROJECTIONS:
            vector = city.vectors.get(projection.name)
            known = [one for one in generations.get(projection.name, []) if vector and one.number == vector.generation]
            if vector is not None and not any(one.is_of(projection) for one in known):
                why = f"generation {vector.generation} of {projection.name} is dropped, or was folded by other code"
                return CheckedCity(city, CityVerdict.OTHER_CODE, why=why)
        return None

    def _on_restart(self, reason: str) -> None:
        self.findings.restarts += 1
        self._restarted()
        log.warning("the audit of the city begins again at the first event: %s", reason)


def document(findings: CityFindings, events: int, seconds: float) -> Mapping[str, object]:
    """The findings as a JSON document."""
    return {
        "projection": CITY,
        "snapshots": findings.checked,
        "verdicts": {verdict.replace(" ", "_"): findings.totals.get(verdict, 0) for verdict in CityVerdict},
        "restarts": findings.restarts,
        "events_folded": events,
        "seconds": round(seconds, 3),
        "generations": findings.generations,
        "last_snapshot": findings.number,
        "examples": findings.examples,
    }


def lines(findings: CityFindings, events: int, seconds: float) -> list[str]:
    """The totals by verdict, and examples of differences."""
    if not findings.checked:
        return ["nothing to check: no city snapshots are recorded (see --since)"]
    totals = ", ".join(f"{count:,} {verdict}" for verdict, count in findings.totals.items())
    restarts = f", {findings.restarts:,} restarts" if findings.restarts else ""
    return [
        f"{findings.checked:,} city snapshots: {totals}; {events:,} events folded in {seconds:.1f} s{restarts}",
        *findings.examples,
    ]


def advice(findings: CityFindings) -> str:
    """One line that says what to do; "" if nothing is wrong."""
    different = findings.totals.get(CityVerdict.DIFFERENT, 0)
    if not different:
        return ""
    what = f"{different:,} city snapshots disagree with the log"
    if findings.different:
        return f"{what}: run `rebuild-projection` for traffic, orders and calibration"
    return f"{what}, all of generations that are no longer read: check only later snapshots, with --since"


def verify_city(backends: Backends, since_ms: int, on_progress: Callable[[CityFindings, int], None]) -> CityVerifier:
    """Audit all snapshots recorded since then, each difference from the first event. Raises as CityVerifier does."""
    verifier = CityVerifier(backends, since_ms=since_ms, confirms=True)
    while True:
        verifier.step(FoldBudget(events=20_000), every=True)
        on_progress(verifier.findings, verifier.events)
        if verifier.is_done():
            return verifier
