"""Runs the rounds of an audit in a thread that must never disturb the projections of its process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from infrastructure.schema_registry.client import RegistryUnavailable
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.retry import SERVICE_RETRY_DELAYS_S, RetryDelays

log = logging.getLogger("ridelog.parity")


class AuditThread:
    """Calls ``run_round`` every ``interval_s`` seconds, and less often while it fails. ``what``: for the log."""

    def __init__(self, name: str, what: str, run_round: Callable[[], object], interval_s: float) -> None:
        self._what = what
        self._run_round = run_round
        self._interval_s = interval_s
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the rounds."""
        self._thread.start()

    def stop(self) -> None:
        """End the rounds, if the current one ends soon."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        delays = RetryDelays(SERVICE_RETRY_DELAYS_S)
        while not self._stop.is_set():
            try:
                self._run_round()
                delays.reset()
                retry_s = 0.0
            except (PortUnavailable, SinkRejected, RegistryUnavailable, SQLAlchemyError) as error:
                # At INFO only: the stages themselves already report the unavailable server.
                log.info("%s are not audited for now: %s", self._what, error)
                retry_s = delays.next_s()
            except Exception:
                # No error of the audit may stop the projections.
                log.exception("%s cannot be audited", self._what)
                retry_s = delays.next_s()
            self._stop.wait(self._interval_s + retry_s)
