"""Shows the progress of a long command on stderr: a bar on a terminal, else a plain line every few seconds."""

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

LINE_INTERVAL_S = 5.0


class Reporter:
    """Shows the part of ``total`` that is done, the rate of ``what`` and the time left.

    ``total`` is in any unit; None means that there is no end.
    """

    def __init__(self, title: str, what: str, total: float | None) -> None:
        self._title = title
        self._what = what
        self._total = total
        self._began = self._printed_at = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            shown = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) if total else (TimeElapsedColumn(),)
            self._bar = Progress(
                TextColumn("{task.description}"),
                *shown,
                TextColumn("{task.fields[rate]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(title, total=total, rate="")

    def update(self, done: float, count: int, note: str = "") -> None:
        """Show that ``done`` of the total and ``count`` items are finished.

        May be called at any rate, but from one thread only.
        """
        now = time.monotonic()
        elapsed = max(now - self._began, 1e-3)
        rate = f"{count:,} {self._what}, {count / elapsed:,.0f}/s" + (f", {note}" if note else "")
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rate=rate)
        elif now - self._printed_at >= LINE_INTERVAL_S:
            self._printed_at = now
            if self._total and done:
                left = elapsed * max(self._total - done, 0.0) / done
                rate += f", {100.0 * done / self._total:.0f} %, {left:.0f} s left"
            echo(f"{self._title}: {rate}", err=True)

    def note(self, message: str) -> None:
        """Print a line of its own, above the bar."""
        if self._bar is not None:
            self._bar.console.print(cell(message), highlight=False)
        else:
            echo(f"{self._title}: {message}", err=True)

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
    """Show progress while the context is open; the callback it yields takes (done, of)."""
    with Reporter(title, what, 1.0) as reporter:

        def show(done: int, of: int) -> None:
            reporter.update(done / max(of, 1), done, f"{max(0, of - done):,} to go")

        yield show
