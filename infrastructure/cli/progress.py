"""Progress of a long command on stderr: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from infrastructure.cli.output import cell, echo

LINE_EVERY_S = 5.0


class Reporter:
    """Shows how much of a ``total`` (in any unit; None: endless) is done, with a rate of ``what`` and the time left."""

    def __init__(self, title: str, what: str, total: float | None) -> None:
        self._title = title
        self._what = what
        self._total = total
        self._began = self._told = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            shown = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) if total else (TimeElapsedColumn(),)
            self._bar = Progress(
                TextColumn("{task.description}"),
                *shown,
                TextColumn("{task.fields[words]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(title, total=total, words="")

    def update(self, done: float, count: int, note: str = "") -> None:
        """``done`` of the total, ``count`` things so far; at any rate, from one thread."""
        now = time.monotonic()
        elapsed = max(now - self._began, 1e-3)
        words = f"{count:,} {self._what}, {count / elapsed:,.0f}/s" + (f", {note}" if note else "")
        if self._bar is not None:
            self._bar.update(self._task, completed=done, words=words)
        elif now - self._told >= LINE_EVERY_S:
            self._told = now
            if self._total and done:
                left = elapsed * max(self._total - done, 0.0) / done
                words += f", {100.0 * done / self._total:.0f} %, {left:.0f} s left"
            echo(f"{self._title}: {words}", err=True)

    def note(self, words: str) -> None:
        """A line of its own, for what the user should know."""
        if self._bar is not None:
            self._bar.console.print(cell(words), highlight=False)
        else:
            echo(f"{self._title}: {words}", err=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress(title: str, what: str) -> Iterator[Callable[[int, int], None]]:
    """While the context is open, what it gives shows (done, of)."""
    with Reporter(title, what, 1.0) as reporter:

        def show(done: int, of: int) -> None:
            reporter.update(done / max(of, 1), done, f"{max(0, of - done):,} to go")

        yield show
