"""What the long-running programs share: stopping by signal, waiting out a server that is away."""

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
from projections.core.retry import RetryDelays

log = logging.getLogger("ridelog.process")

RESTART_DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FRAMES = 6
HEALTHY_AFTER_S = 30.0
"""An attempt that lasted so long ends as if it were the first to fail."""


def stop_event() -> threading.Event:
    """Set by SIGTERM or SIGINT; call in the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def stack_summary(thread: threading.Thread) -> str:
    """Where a thread is, innermost first: what is worth to be known of one that hangs, and gone with its process."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return "its end"
    calls = traceback.extract_stack(frame)[-FRAMES:]
    return " < ".join(f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in reversed(calls))


def run_until_stopped(
    attempt: Callable[[], None],
    stop: threading.Event,
    passing: tuple[type[Exception], ...],
    told: Callable[[str], None],
    stage: str,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Call ``attempt`` again after each error that passes by itself, ever more slowly; ``told`` gets the reason.

    ``attempt`` returns when ``stop`` is set. Any other error ends the process, which its supervisor starts again.
    """
    # All of them at once: of a counter that begins at 1 Prometheus shows no increase.
    failed = {kind: metrics.STAGE_FAILURES.labels(stage, kind.__name__) for kind in passing}
    delays = RetryDelays(RESTART_DELAYS_S)
    while not stop.is_set():
        began = clock()
        try:
            attempt()
        except passing as error:
            if clock() - began >= HEALTHY_AFTER_S:
                delays.reset()
            wait_s = delays.next_s()
            log.warning("%s: trying again in %.1f s", error, wait_s)
            failed[next(kind for kind in passing if isinstance(error, kind))].inc()
            told(f"{type(error).__name__}: {error}")
            stop.wait(wait_s)
        else:
            delays.reset()
