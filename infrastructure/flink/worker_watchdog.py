"""Watches the worker of a subtask: Flink restarts one that has ended, and ends none that hangs or has lost its JVM."""

from __future__ import annotations

import faulthandler
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

import psutil

from infrastructure.observability.watchdog import Watchdog, WorkSample, WorkState

log = logging.getLogger("ridelog.flink")

CHECK_INTERVAL_S = 1.0
HUNG_EXIT_CODE, ORPHANED_EXIT_CODE = 70, 71
MAX_CLOSED_S = 60.0
"""Flink ends the process of a closed function within seconds. After an error of a bundle Beam closes the function
first: if its answer fails too, Flink waits for it without end, and only the end of the process shows the error."""


class WatchedWorker(Protocol):
    """What the watchdog sees of a worker, and does to it. Called from the watchdog's thread."""

    def samples(self) -> Mapping[int, WorkSample]:
        """The progress of each generation."""
        ...

    def set_trouble(self, number: int, message: str, *, restart: bool) -> None:
        """Show what is wrong with a generation; ``restart``: its next batch connects again."""
        ...


def end_process(message: str) -> None:
    """End this Python worker at once, with ``message`` and the stacks of its threads in a file of Flink's logs.

    Flink discards the standard error of its Python workers. It restarts the job from its last checkpoint, and the
    fences drop what comes twice.
    """
    try:
        folder = Path(os.environ.get("FLINK_LOG_DIR") or tempfile.gettempdir())
        with open(folder / f"ridelog-hung-worker-{os.getpid()}.log", "w", encoding="utf-8") as file:
            print(message, file=file, flush=True)
            faulthandler.dump_traceback(file)
    finally:
        os._exit(HUNG_EXIT_CODE)


def end_if_closed(on_hung: Callable[[str], None] = end_process, after_s: float = MAX_CLOSED_S) -> threading.Timer:
    """End this process if it still runs ``after_s`` after its function was closed. Returns the timer that does it."""
    message = f"the function was closed {after_s:.0f} s ago, and Flink has not ended this Python worker: it ends"
    timer = threading.Timer(after_s, on_hung, [message])
    # A process that Flink ends does not wait for it.
    timer.daemon = True
    timer.start()
    return timer


@cache
def end_with_taskmanager() -> None:
    """End this Python worker soon after the TaskManager that has started it.

    A worker whose JVM was killed went on for minutes: it waits for its call before it notes that the connection is
    lost. It would make the part that the restarted job makes elsewhere.
    """
    if (java := next((one for one in psutil.Process().parents() if one.name() == "java"), None)) is not None:
        when_ended(java, lambda: os._exit(ORPHANED_EXIT_CODE))


def when_ended(process: psutil.Process, on_ended: Callable[[], None]) -> None:
    """Call ``on_ended`` in a thread of its own, within seconds after the end of ``process``."""

    def watch() -> None:
        pause = threading.Event()
        while _runs(process):
            pause.wait(CHECK_INTERVAL_S)
        on_ended()

    threading.Thread(target=watch, name="watch of the TaskManager", daemon=True).start()


def _runs(process: psutil.Process) -> bool:
    try:
        # One that its parent has not waited for is in the list of processes, and has ended all the same.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class WorkerWatchdog:
    """Applies the rules of the runner's watchdog to one worker, once a second, in a thread."""

    def __init__(
        self,
        worker: WatchedWorker,
        on_hung: Callable[[str], None] = end_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_hung``: what ends a worker whose call does not return."""
        self._worker = worker
        self._on_hung = on_hung
        self._clock = clock
        self._watchdog = Watchdog()
        self._known: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def check(self) -> None:
        """Classify each generation once: one that is stuck too long reconnects; one that hangs ends the process."""
        found = self._worker.samples()
        for number in self._known - found.keys():
            self._watchdog.forget(str(number))
        self._known = set(found)
        for number, sample in found.items():
            verdict = self._watchdog.observe(str(number), sample, self._clock())
            if verdict.state is WorkState.MOVING:
                self._worker.set_trouble(number, "", restart=False)
                continue
            self._worker.set_trouble(number, verdict.message, restart=verdict.give_up)
            if verdict.state is WorkState.HANGS and verdict.give_up:
                message = f"generation {number} {verdict.message}: this Python worker ends, and Flink restarts the job"
                log.error("%s", message)
                self._on_hung(message)

    def _run(self) -> None:
        while not self._stop.wait(CHECK_INTERVAL_S):
            try:
                self.check()
            except Exception:
                # The worker must not be left without a watchdog.
                log.exception("the watchdog could not classify its worker; it tries again in a second")
