"""Runs mutants in forked children of one pytest session: the tests are imported and collected once for all of them.

A pytest plugin, which tests.support.mutation.run starts in the folder ``mutants``. It reads its ``Job`` from the file
that the environment variable JOB names, and appends one JSON object a line to the files of the job.

A busy machine kills no mutant. Each test is limited by its CPU time, and by a wall time far above what it took without
a mutant. And a failure counts only if the same test then passes without the mutant: in the same process, or, if that
process is damaged, in a fresh one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.format_utils import mangled_name_from_mutant_name

JOB = "RIDELOG_MUTANTS_JOB"
KILLED, SURVIVED, UNTESTED, SUSPICIOUS, TIMEOUT = 1, 0, 33, 35, 36
"""mutmut's exit codes."""
CPU_LIMIT_S, CPU_FACTOR = 2.0, 4.0
WALL_LIMIT_S, WALL_FACTOR = 20.0, 20.0
MEMORY_LIMIT_BYTES = 12 << 30
CHILD_LIMIT_S = 3_600.0
SERVER_CPU = 0.2
"""CPU seconds that a test with a server counts as, for each second that it takes."""


@dataclass
class Measurement:
    """One test without a mutant: its CPU and wall time in seconds, and the mutated functions that it runs."""

    test: str
    passed: bool
    cpu_s: float
    wall_s: float
    functions: list[str] = field(default_factory=list)


@dataclass
class Verdict:
    """What became of a mutant: mutmut's exit code, the test that decided it, and how many tests were run."""

    mutant: str
    code: int
    test: str = ""
    tests: int = 0


class Job(NamedTuple):
    """What to run. ``budget_s``: CPU seconds of tests against one mutant; the likeliest to kill it come first.

    ``core`` begins the mutants that no test of ``integration`` may kill. Tests outside ``unit`` come last: they start
    servers. ``batch``: mutants that one process may run after each other, while none has damaged it, so that they share
    its servers.
    """

    mutants: Sequence[str]
    measurements: str
    verdicts: str
    core: str
    integration: str
    unit: str
    budget_s: float
    children: int
    batch: int = 1


class LimitReached(BaseException):
    """The test has used its CPU time or its wall time; no handler of ``Exception`` may swallow that."""


def pytest_runtestloop(session: pytest.Session) -> bool:
    job = Job(**json.loads(Path(os.environ[JOB]).read_text(encoding="utf-8")))
    items = {item.nodeid: item for item in session.items}
    gc.collect()
    gc.freeze()
    _measure(job, session, items)
    measured = [found for found in _measurements(job) if found.passed and found.test in items]
    _Mutants(job, session, items, measured).run()
    return True


def _measurements(job: Job) -> list[Measurement]:
    path = Path(job.measurements)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list({found.test: found for found in (Measurement(**json.loads(line)) for line in lines)}.values())


def _measure(job: Job, session: pytest.Session, items: Mapping[str, pytest.Item]) -> None:
    """Run the tests that have no measurement yet, in one child, without a mutant."""
    known = {found.test for found in _measurements(job)}
    wanted = [item for name, item in items.items() if name not in known]
    if not wanted:
        return

    def child(_report: Callable[[Any], None]) -> None:
        set_mutant_under_test("stats")
        with Path(job.measurements).open("a", encoding="utf-8") as file:
            for item in wanted:
                state()._stats.clear()
                cpu, wall = time.process_time(), time.monotonic()
                passed = _passes(item, 600.0, 600.0)
                spent = time.process_time() - cpu, time.monotonic() - wall
                found = Measurement(item.nodeid, passed, *spent, sorted(state()._stats))
                print(json.dumps(asdict(found)), file=file, flush=True)

    running = _Child(session, child)
    running.wait(CHILD_LIMIT_S)


class _Mutants:
    """All mutants of a job, some at a time."""

    def __init__(
        self, job: Job, session: pytest.Session, items: Mapping[str, pytest.Item], measured: Sequence[Measurement]
    ) -> None:
        self._job = job
        self._session = session
        self._items = items
        self._measured = {found.test: found for found in measured}
        self._tests: dict[str, list[Measurement]] = {}
        for found in measured:
            for function in found.functions:
                self._tests.setdefault(function, []).append(found)
        self._kills: Counter[str] = Counter()
        """Tests by how many mutants they have killed in this run."""
        self._kills_of_function: Counter[tuple[str, str]] = Counter()
        """The same, by the mutated function and the test."""

    def run(self) -> None:
        waiting = list(reversed(self._job.mutants))
        running: dict[int, tuple[list[str], _Child]] = {}
        with Path(self._job.verdicts).open("a", encoding="utf-8") as file:

            def store(verdict: Verdict) -> None:
                print(json.dumps(asdict(verdict)), file=file, flush=True)

            while waiting or running:
                while waiting and len(running) < self._job.children:
                    batch, waiting = waiting[-self._job.batch :][::-1], waiting[: -self._job.batch]
                    chosen = {mutant: self._chosen(mutant) for mutant in batch}
                    for mutant in [mutant for mutant, tests in chosen.items() if not tests]:
                        store(Verdict(mutant, UNTESTED))
                        del chosen[mutant]
                    if chosen:
                        child = _Child(self._session, self._runs(chosen))
                        running[child.fd] = list(chosen), child
                for fd in select.select(list(running), [], [], 1.0)[0]:
                    batch, child = running.pop(fd)
                    reports = child.wait(CHILD_LIMIT_S) or [asdict(Verdict(batch[0], SUSPICIOUS, "the process ended"))]
                    for report in reports:
                        verdict = self._confirmed(report)
                        killed = verdict.code in {KILLED, TIMEOUT}
                        self._kills[verdict.test] += killed
                        self._kills_of_function[mangled_name_from_mutant_name(verdict.mutant), verdict.test] += killed
                        store(verdict)
                    waiting += reversed(batch[len(reports) :])

    def _chosen(self, mutant: str) -> list[Measurement]:
        function = mangled_name_from_mutant_name(mutant)
        tests = self._tests.get(function, [])
        if mutant.startswith(self._job.core):
            tests = [found for found in tests if not found.test.startswith(self._job.integration)]

        def order(found: Measurement) -> tuple[bool, int, int, float]:
            kills = -self._kills_of_function[function, found.test]
            if not found.test.startswith(self._job.unit):
                # Then the shortest: one that reaches much waits for minutes if the mutant stops a relay.
                return True, kills, 0, found.wall_s
            # Then a test that reaches much of the code in a short time: it is the likeliest to notice something.
            return False, kills, -self._kills[found.test], found.wall_s / len(found.functions)

        ordered = sorted(tests, key=order)
        chosen: list[Measurement] = []
        spent = 0.0
        for found in ordered:
            # A test with a server waits for it, most of its time.
            spent += found.cpu_s if found.test.startswith(self._job.unit) else found.wall_s * SERVER_CPU
            if chosen and spent > self._job.budget_s:
                break
            chosen.append(found)
        return chosen

    def _runs(self, chosen: Mapping[str, Sequence[Measurement]]) -> Callable[[Callable[[Any], None]], None]:
        """Work of a child: the mutants one after the other, up to one after which the process may be damaged."""

        def child(report: Callable[[Any], None]) -> None:
            for mutant, tests in chosen.items():
                found = self._verdict(mutant, tests)
                report(found)
                if found["code"] == SUSPICIOUS or found["limited"]:
                    return

        return child

    def _verdict(self, mutant: str, tests: Sequence[Measurement]) -> dict[str, Any]:
        items = [self._items[found.test] for found in tests]
        for number, (found, item) in enumerate(zip(tests, items, strict=True), 1):
            set_mutant_under_test(mutant)
            cpu_s, wall_s = _limits(found)
            if _passes(item, cpu_s, wall_s):
                continue
            limited = _limit_reached
            set_mutant_under_test("")
            item._initrequest()  # type: ignore[attr-defined]
            sound = _passes(item, cpu_s, wall_s)
            code = (TIMEOUT if limited else KILLED) if sound else SUSPICIOUS
            return asdict(Verdict(mutant, code, found.test, number)) | {"limited": limited}
        return asdict(Verdict(mutant, SURVIVED, "", len(items))) | {"limited": False}

    def _confirmed(self, reported: dict[str, Any]) -> Verdict:
        """The verdict; a failure after which its process was damaged is confirmed by a fresh one without a mutant."""
        limited = reported.pop("limited", False)
        verdict = Verdict(**reported)
        if verdict.code != SUSPICIOUS or verdict.test not in self._items:
            return verdict
        item, found = self._items[verdict.test], self._measured[verdict.test]

        def child(report: Callable[[Any], None]) -> None:
            set_mutant_under_test("")
            report(_passes(item, *_limits(found)))

        if _Child(self._session, child).wait(CHILD_LIMIT_S) == [True]:
            verdict.code = TIMEOUT if limited else KILLED
        return verdict


def _limits(found: Measurement) -> tuple[float, float]:
    return CPU_LIMIT_S + CPU_FACTOR * found.cpu_s, WALL_LIMIT_S + WALL_FACTOR * found.wall_s


_limit_reached = False


def _on_limit(_number: int, _frame: FrameType | None) -> None:
    global _limit_reached
    _limit_reached = True
    raise LimitReached


def _passes(item: pytest.Item, cpu_s: float, wall_s: float) -> bool:
    """Run one test. The limits are repeated, in case one is swallowed. The servers of the session keep running."""
    global _limit_reached
    _limit_reached = False
    signal.signal(signal.SIGPROF, _on_limit)
    signal.signal(signal.SIGALRM, _on_limit)
    try:
        signal.setitimer(signal.ITIMER_PROF, cpu_s, 1.0)
        signal.setitimer(signal.ITIMER_REAL, wall_s, 5.0)
        try:
            # Fixtures are torn down up to what the "next item" shares with this one: only the session.
            reports = runtestprotocol(item, log=False, nextitem=item.session)  # type: ignore[arg-type]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    except LimitReached:
        return False
    return not _limit_reached and not any(report.failed for report in reports)


class _Child:
    """A forked copy of the collected session, with a temporary folder of its own, that reports some values."""

    def __init__(self, session: pytest.Session, work: Callable[[Callable[[Any], None]], None]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="rm"))
        self.fd, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                os.setsid()
                self._work(session, work, write)
                code = 0
            finally:
                os._exit(code)
        os.close(write)

    def _work(self, session: pytest.Session, work: Callable[[Callable[[Any], None]], None], write: int) -> None:
        quiet = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(quiet, fd)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        session.config._tmp_path_factory._basetemp = self._folder  # type: ignore[attr-defined]
        said: list[Any] = []
        work(said.append)
        try:
            session._setupstate.teardown_exact(None)
        finally:
            os.write(write, json.dumps(said).encode())

    def wait(self, within_s: float) -> Any:
        """What the child reported; None if it ended before its end or took longer."""
        said = b""
        deadline = time.monotonic() + within_s
        while select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(self.fd, 65_536)
            said += part
            if not part or said.endswith(b"]"):
                break
        os.close(self.fd)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        shutil.rmtree(self._folder, ignore_errors=True)
        return json.loads(said) if said else None
