"""What the long-running processes share: stopping by signal, retrying while a server is unavailable."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from infrastructure.observability import metrics
from projections.core.retry import SERVICE_RETRY_DELAYS_S, RetryDelays

log = logging.getLogger("ridelog.process")

MAX_STACK_FRAMES = 6
HEALTHY_AFTER_S = 30.0
"""An attempt that ran this long was healthy; its failure starts a new back-off sequence."""


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
