"""Runs schema checks in a separate process, which is killed if a check takes too long.

Parsing and comparing are pure Python of third-party code on text from outside. In this process they would hold the
interpreter's lock, and nothing could end them.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final, NamedTuple

from infrastructure.schema_registry.canonical import fingerprint
from infrastructure.schema_registry.compatibility import InvalidSchema, Level, StoredSchema, level_problems, parse
from infrastructure.schema_registry.schema_bounds import SchemaTooLarge, check_bounds

CHECK_TIMEOUT_S: Final = 5.0
"""Processor time of one check. The slowest pair of schemas that we found within the bounds takes 1.5 s."""

WALL_FACTOR: Final = 6
"""Wall-clock time of a check, as a multiple of its processor time: the machine may be busy with other work."""

START_TIMEOUT_S: Final = 60.0
"""Bounds the imports of a new process, which take about half a second on an idle machine."""

IDLE_TIMEOUT_S: Final = 60.0
"""An idle process exits after this time, because it holds 50 MB."""

MAX_MEMORY_BYTES: Final = 1024 * 1024 * 1024
MAX_PROBLEMS: Final = 50
MAX_PROBLEM_CHARS: Final = 2_000

_CONTEXT: Final = multiprocessing.get_context("spawn")


class Examined(NamedTuple):
    """``fingerprint`` is None if the text is not JSON. ``fault`` says why it may not be registered, "" if it may."""

    fingerprint: str | None
    fault: str


class CheckProcess:
    """A process that runs one check at a time. The first check starts it. Thread-safe."""

    def __init__(self, timeout_s: float = CHECK_TIMEOUT_S, idle_s: float = IDLE_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._running: tuple[BaseProcess, Connection] | None = None

    def examine(self, schema: str) -> Examined:
        """Checks fingerprint, bounds and validity of one schema. Raises InvalidSchema if that takes too long."""
        found: Examined = self._run(_examine, schema)
        return found

    def problems(self, level: Level, new: str, olds: Sequence[StoredSchema]) -> list[str]:
        """Reports why ``new`` may not follow ``olds`` at ``level``, at most MAX_PROBLEMS reasons.

        Raises InvalidSchema if one of the schemas is invalid or beyond the bounds, or if it takes too long.
        """
        found: list[str] = self._run(_problems, level, new, tuple(olds))
        return found

    def close(self) -> None:
        """Ends the process. The next check starts a new one."""
        with self._lock:
            self._kill()

    @property
    def pid(self) -> int | None:
        """Returns the id of the process, None while there is none."""
        running = self._running
        return None if running is None else running[0].pid

    def _run(self, task: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            answer = self._ask(task, arguments)
            if answer is None:
                # It exited before it read the task, because it was idle for too long.
                answer = self._ask(task, arguments)
        if answer is None:
            raise SchemaTooLarge("the process that checks schemas does not stay alive; send it again")
        outcome, value = answer
        if outcome == "invalid":
            raise InvalidSchema(value)
        if outcome == "failed":
            raise SchemaTooLarge(f"it cannot be checked: {value}")
        return value

    def _ask(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[str, Any] | None:
        """Returns the answer of the process; None if it exited while idle. Raises SchemaTooLarge if it was killed."""
        process, pipe = self._started()
        try:
            pipe.send((task, arguments))
            if not pipe.poll(WALL_FACTOR * self._timeout_s):
                self._kill()
                raise self._too_slow()
            answer: tuple[str, Any] = pipe.recv()
            return answer
        except (EOFError, OSError) as error:
            process.join(1.0)
            code = process.exitcode
            self._kill()
            if code == 0:
                return None
            if code == -signal.SIGPROF:
                raise self._too_slow() from error
            raise SchemaTooLarge("its check ended the process that does it, for want of memory; simplify it") from error

    def _too_slow(self) -> SchemaTooLarge:
        return SchemaTooLarge(f"the check took longer than {self._timeout_s:.0f} s and was ended; simplify it")

    def _started(self) -> tuple[BaseProcess, Connection]:
        if self._running is not None and self._running[0].is_alive():
            return self._running
        self._kill()
        ours, theirs = _CONTEXT.Pipe()
        process: BaseProcess = _CONTEXT.Process(
            target=_serve, args=(theirs, self._timeout_s, self._idle_s), name="schema-checks", daemon=True
        )
        process.start()
        theirs.close()
        self._running = process, ours
        try:
            ready = ours.poll(START_TIMEOUT_S) and ours.recv()
        except (EOFError, OSError):
            ready = False
        if not ready:
            self._kill()
            raise SchemaTooLarge("the process that checks schemas does not start; see the log of this node")
        return self._running

    def _kill(self) -> None:
        if self._running is not None:
            process, pipe = self._running
            self._running = None
            process.kill()
            process.join()
            pipe.close()


@cache
def shared() -> CheckProcess:
    """Returns the check process that this process shares, except its HTTP interface, which has its own."""
    return CheckProcess()


def _serve(pipe: Connection, timeout_s: float, idle_s: float) -> None:
    """Main loop of the check process: one task at a time, until it is idle for too long or its parent has exited."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MAX_MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    pipe.send(True)
    while pipe.poll(idle_s):
        try:
            task, arguments = pipe.recv()
        except EOFError:
            os._exit(0)
        # Without a handler the signal ends the process, even inside a C call or after its parent has exited.
        signal.setitimer(signal.ITIMER_PROF, timeout_s)
        outcome = _outcome(task, arguments)
        signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.send(outcome)


def _outcome(task: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "done", task(*arguments)
    except InvalidSchema as error:
        return "invalid", str(error)[:MAX_PROBLEM_CHARS]
    except (RecursionError, MemoryError) as error:
        return "failed", type(error).__name__
    except Exception as error:  # noqa: BLE001  (a third-party parser on text from outside: the schema is at fault)
        return "failed", f"{type(error).__name__}: {error}"[:MAX_PROBLEM_CHARS]


def _examine(schema: str) -> Examined:
    try:
        mark = fingerprint(schema)
    except (ValueError, RecursionError) as error:
        return Examined(None, str(error)[:MAX_PROBLEM_CHARS])
    try:
        check_bounds(schema)
        parse(schema)
    except InvalidSchema as error:
        return Examined(mark, str(error)[:MAX_PROBLEM_CHARS])
    return Examined(mark, "")


def _problems(level: Level, new: str, olds: tuple[StoredSchema, ...]) -> list[str]:
    check_bounds(new)
    # NONE compares nothing: it allows a new version after one that exceeds the bounds.
    compared = () if level is Level.NONE else olds if level.transitive else olds[-1:]
    for old in compared:
        try:
            check_bounds(old.schema)
        except InvalidSchema as error:
            raise SchemaTooLarge(
                f"version {old.version}, with which it must be compared, is beyond the bounds of today: {error}; "
                "delete that version, or set the level NONE for the subject"
            ) from error
    found = level_problems(level, new, olds)
    more = [f"and {len(found) - MAX_PROBLEMS:,} more"] if len(found) > MAX_PROBLEMS else []
    return [problem[:MAX_PROBLEM_CHARS] for problem in found[:MAX_PROBLEMS]] + more
