"""Puts a share of the answers on record, by a thread beside the requests: none of them waits for it, or fails by it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from infrastructure.event_store.served_log import add, trim
from infrastructure.observability import metrics
from projections.parity.served import ServedRead
from projections.ports import PortUnavailable

log = logging.getLogger("ridelog.served")

WRITE_EVERY_S = 1.0
TRIM_EVERY_S = 60.0
MOST_WAITING = 20_000
"""Reads that wait to be written, ~500 bytes each; past it they are counted and not kept (invariant 15)."""

Write = Callable[[Sequence[ServedRead]], int]
"""Keeps them all or raises PortUnavailable; how many were kept."""


class ServedRecorder:
    """Called with every answer, in the request's thread; ``share`` (0..1) of them is kept, chosen by chance."""

    def __init__(
        self,
        share: float,
        write: Write,
        tidy: Callable[[], None],
        *,
        most_waiting: int = MOST_WAITING,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._write = write
        self._tidy = tidy
        self._most_waiting = most_waiting
        self._chance = chance
        self._waiting: deque[ServedRead] = deque()
        self._tidied_at = time.monotonic()
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="served-reads", daemon=True)

    def __call__(self, read: ServedRead) -> None:
        if self._chance() >= self._share:
            return
        if len(self._waiting) >= self._most_waiting:
            metrics.SERVED_READS_DROPPED.inc()
            return
        self._waiting.append(read)

    def start(self) -> None:
        if self._share > 0:
            self._thread.start()

    def stop(self) -> None:
        """What waits is written, if the database answers at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def flush(self) -> None:
        """Write all that waits now. What cannot be written is counted and forgotten: it was a sample."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return
        kept = 0
        try:
            kept = self._write(batch)
        except PortUnavailable as error:
            log.warning("%s served reads are not put on record: %s", f"{len(batch):,}", error)
        metrics.SERVED_READS.inc(kept)
        metrics.SERVED_READS_DROPPED.inc(len(batch) - kept)

    def _run(self) -> None:
        while not self._stop.wait(WRITE_EVERY_S):
            self._round()
        self._round()

    def _round(self) -> None:
        try:
            self.flush()
            if time.monotonic() - self._tidied_at >= TRIM_EVERY_S:
                self._tidied_at = time.monotonic()
                self._tidy()
        except PortUnavailable as error:
            log.warning("old served reads stay for now: %s", error)
        except Exception:
            # Whatever it is, it must not end the record of all answers to come.
            log.exception("served reads are not put on record")


def postgres_recorder(engine: Engine, projection: str, view_digest: str, share: float, keep: int) -> ServedRecorder:
    """One that writes to Postgres."""
    return ServedRecorder(share, lambda reads: add(engine, projection, view_digest, reads), lambda: trim(engine, keep))
