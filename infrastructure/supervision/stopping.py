"""Stop many services at once, within one bounded time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from signal import SIGKILL

from infrastructure.supervision.service import Service

log = logging.getLogger(__name__)


def stop_all(services: Sequence[Service], hurry: Callable[[], bool] = lambda: False) -> None:
    """Stop them side by side, so that the slowest sets the time, not the sum; SIGKILL once ``hurry()``."""
    children = [service.child for service in services if service.child is not None]
    if not children:
        return
    with ThreadPoolExecutor(max_workers=len(services), thread_name_prefix="stop") as pool:
        pending = {pool.submit(service.stop) for service in services}
        while pending:
            done, pending = wait(pending, timeout=0.1)
            for stopped in done:
                stopped.result()
            if pending and hurry():
                log.warning("asked to stop again: killing what still runs")
                for child in children:
                    child.send(SIGKILL)
                break
