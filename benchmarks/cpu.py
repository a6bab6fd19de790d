"""CPU time by process, as the kernel counts it: the only figure that a busy machine hardly changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil
from sqlalchemy import Engine, text

from infrastructure.embedded.fork_server import TITLE

PROGRAMS = ("api", "tailer", "projections")


def seconds_of(processes: Iterable[psutil.Process]) -> float:
    """User and system seconds of the processes that are alive, and of their children that have ended."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue  # the process has ended since it was listed
        total += times.user + times.system + times.children_user + times.children_system
    return total


def here_and_below() -> float:
    """CPU seconds of this process and of all processes that it has started."""
    own = psutil.Process()
    return seconds_of([own, *own.children(recursive=True)])


def by_program(root: psutil.Process, others: Mapping[str, Iterable[psutil.Process]]) -> dict[str, float]:
    """CPU seconds of all processes of a ``serve``, by program. ``others``: servers that it did not start, by name."""
    groups: dict[str, list[psutil.Process]] = {name: list(found) for name, found in others.items()}
    for process in [root, *root.children(recursive=True)]:
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        groups.setdefault(_program(process.pid == root.pid, line), []).append(process)
    return {name: seconds_of(found) for name, found in groups.items()}


def postmaster_of(engine: Engine) -> psutil.Process:
    """The main process of the Postgres of this machine that an engine asks."""
    with engine.connect() as connection:
        server = psutil.Process(connection.execute(text("SELECT pg_backend_pid()")).scalar_one()).parent()
    assert server is not None, "a server process of Postgres has one that started it"
    return server


def by_process(root: psutil.Process) -> dict[int, float]:
    """CPU seconds of a process and of its children, by process id."""
    found = {}
    for one in (root, *root.children()):
        with suppress(psutil.Error):  # the process has ended since it was listed
            times = one.cpu_times()
            found[one.pid] = times.user + times.system
    return found


def used_s(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """CPU seconds between two readings of ``by_process``, of the processes that ran at both."""
    return sum(after[pid] - before[pid] for pid in before.keys() & after.keys())


def _program(is_root: bool, line: str) -> str:
    if is_root or line.strip() == TITLE:
        return "supervisor"
    named = next((name for name in PROGRAMS if f"process {name}" in line), None)
    return named or ("postgres" if "postgres" in line else "redis" if "valkey" in line else "kafka")


def a_ping(before: Mapping[str, float], after: Mapping[str, float], pings: int) -> dict[str, float]:
    """Figures: CPU microseconds per ping, by program and in total."""
    spent = {name: (seconds - before.get(name, 0.0)) / pings * 1e6 for name, seconds in sorted(after.items())}
    return {f"CPU µs a ping, {name}": value for name, value in spent.items()} | {
        "CPU µs a ping, in all": sum(spent.values())
    }
