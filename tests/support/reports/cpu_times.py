"""Measures the CPU seconds of each test, with all processes that it has started, and lists the files by their sum.

``pytest -p tests.support.reports.cpu_times tests/…``. On a busy machine wall time says nothing of what a test costs.
A server that several tests share counts where it runs: what it does while idle is with the test that runs meanwhile.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

import psutil
import pytest

SHOWN = 40
"""Files in the list."""

_spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])


def tree_cpu_s(root: psutil.Process | None = None) -> float:
    """CPU seconds of a process and its descendants so far, with those that have ended and were waited for."""
    root = root or psutil.Process()
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue  # it ended just now: its parent has its time once it has waited for it
    return total


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count setup, call and teardown of each test for its file."""
    cpu_s, began = tree_cpu_s(), time.monotonic()
    try:
        return (yield)
    finally:
        spent = _spent[item.nodeid.partition("::")[0]]
        for number, value in enumerate((tree_cpu_s() - cpu_s, time.monotonic() - began, 1)):
            spent[number] += value


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the files that cost most. Of a parallel run the workers measure, and have no terminal: use one process."""
    terminalreporter.section("CPU seconds by file, with all processes that its tests started")
    terminalreporter.write_line(f"{'CPU s':>9} {'wall s':>9} {'tests':>6}")
    ordered = sorted(_spent.items(), key=lambda entry: entry[1], reverse=True)
    for file, (cpu_s, wall_s, tests) in ordered[:SHOWN]:
        terminalreporter.write_line(f"{cpu_s:9.1f} {wall_s:9.1f} {tests:6.0f} {file}")
    terminalreporter.write_line(f"{sum(cpu_s for cpu_s, _, _ in _spent.values()):9.1f} in all")
