"""What the long-running processes share: stopping by signal, retrying while a server is unavailable."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from infrastructure.observability import metrics
from infrastructure.observability.watchdog import END_AFTER_S
from projections.core.retry import SERVICE_RETRY_DELAYS_S, RetryDelays

log = logging.getLogger("ridelog.process")

MAX_STACK_FRAMES = 6
STUCK_EXIT_CODE = 70
"""Of a process with a thread that hangs: it cannot be killed alone."""
HEALTHY_AFTER_S = 30.0
"""An attempt that ran this long was healthy; its failure starts a new back-off sequence."""


class Startable(Protocol):
    """A part of a process that works in a thread of its own."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@contextmanager
def running(*parts: Startable) -> Iterator[None]:
    """Start the parts; at the end stop those that were started, in the same order.

    Also if one cannot be started, or the block fails before it serves: a thread that is left would keep the process
    alive, and its supervisor restarts only a process that has ended.
    """
    started: list[Startable] = []
    try:
        for part in parts:
            part.start()
            started.append(part)
        yield
    finally:
        with ExitStack() as stops:
            for part in reversed(started):
                stops.callback(part.stop)


def stop_event() -> threading.Event:
    """Set by SIGTERM or SIGINT; call in the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def stack_summary(thread: threading.Thread) -> str:
    """Stack of a thread, innermost frame first. Logged for hung threads, because it is lost when the process exits."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return "its end"
    calls = traceback.extract_stack(frame)[-MAX_STACK_FRAMES:]
    return " < ".join(f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in reversed(calls))


def join_or_end_process(
    thread: threading.Thread,
    what: str,
    timeout_s: float = END_AFTER_S,
    end_process: Callable[[int], object] = os._exit,
) -> None:
    """Wait for the end of a thread that must stop. If it hangs, end the process: its supervisor starts another."""
    thread.join(timeout_s)
    if thread.is_alive():
        log.critical(
            "%s has not stopped for %.0f s, at %s; this process ends and is restarted",
            what,
            timeout_s,
            stack_summary(thread),
        )
        end_process(STUCK_EXIT_CODE)


def run_until_stopped(
    attempt: Callable[[], None],
    stop: threading.Event,
    transient: tuple[type[Exception], ...],
    on_failure: Callable[[str], None],
    stage: str,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Call ``attempt`` again after each transient error, with growing delays; ``on_failure`` gets the reason.

    ``attempt`` returns when ``stop`` is set. Any other error ends the process, which its supervisor restarts.
    """
    # Create all counters at the start: Prometheus shows no increase for a counter whose first value is 1.
    failed = {kind: metrics.STAGE_FAILURES.labels(stage, kind.__name__) for kind in transient}
    delays = RetryDelays(SERVICE_RETRY_DELAYS_S)
    while not stop.is_set():
        started = clock()
        try:
            attempt()
        except transient as error:
            # Failures before a healthy attempt must not lengthen the delay after it.
            if clock() - started >= HEALTHY_AFTER_S:
                delays.reset()
            wait_s = delays.next_s()
            log.warning("%s: trying again in %.1f s", error, wait_s)
            failed[next(kind for kind in transient if isinstance(error, kind))].inc()
            on_failure(f"{type(error).__name__}: {error}")
            stop.wait(wait_s)
        else:
            delays.reset()
