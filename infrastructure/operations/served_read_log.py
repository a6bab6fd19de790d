"""Puts a share of the answers on record, by a thread beside the requests: none of them waits for it, or fails by it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine

from infrastructure.observability import metrics
from infrastructure.postgres.served_reads import add, known, trim
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.parity.served_reads import ServedRead

log = logging.getLogger("ridelog.served")

WRITE_INTERVAL_S = 1.0
TRIM_INTERVAL_S = 60.0
MAX_WAITING_READS = 20_000
"""Reads that wait to be written, ~500 bytes each; past it they are counted and not kept (invariant 15)."""

MAX_MISSING_KEYS = 1_000
"""Keys of which nothing was found, that wait to be looked for in the log; and those that are remembered as looked for.
They may be made up by a client."""

Write = Callable[[Sequence[ServedRead]], int]
"""Keeps them all or raises PortUnavailable; how many were kept."""


Known = Callable[[Sequence[ServedRead]], Sequence[ServedRead]]
"""The reads whose key the log has at their position, or raises PortUnavailable."""


class ServedReadRecorder:
    """Called with every answer, in the request's thread; ``share`` (0..1) of them is kept, chosen by chance.

    Of the answers that a key is unknown all are kept whose key the log has, each key once in TRIM_INTERVAL_S: they are
    rare, and each is a state that was lost. None with a share of 0.
    """

    def __init__(
        self,
        share: float,
        write: Write,
        tidy: Callable[[], None],
        *,
        known: Known = lambda reads: reads,
        most_waiting: int = MAX_WAITING_READS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._write = write
        self._tidy = tidy
        self._known = known
        self._missing: deque[ServedRead] = deque()
        self._looked_for: set[str] = set()
        self._most_waiting = most_waiting
        self._chance = chance
        self._waiting: deque[ServedRead] = deque()
        self._tidied_at = time.monotonic()
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="served-reads", daemon=True)

    def __call__(self, read: ServedRead) -> None:
        if read.is_missing:
            self._miss(read)
            return
        if self._chance() >= self._share:
            return
        if len(self._waiting) >= self._most_waiting:
            metrics.SERVED_READS_DROPPED.inc()
            return
        self._waiting.append(read)

    def _miss(self, read: ServedRead) -> None:
        # A key past the room is looked for when it is asked for again.
        if self._share > 0 and read.key not in self._looked_for and len(self._looked_for) < MAX_MISSING_KEYS:
            self._looked_for.add(read.key)
            self._missing.append(read)

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
        missing = [self._missing.popleft() for _ in range(len(self._missing))]
        if not batch and not missing:
            return
        kept = 0
        try:
            batch += self._known(missing)
            kept = self._write(batch) if batch else 0
        except (PortUnavailable, SinkRejected) as error:
            log.warning("%s served reads are not put on record: %s", f"{len(batch):,}", error)
        metrics.SERVED_READS.inc(kept)
        metrics.SERVED_READS_DROPPED.inc(len(batch) - kept)

    def _run(self) -> None:
        while not self._stop.wait(WRITE_INTERVAL_S):
            self._round()
        self._round()

    def _round(self) -> None:
        try:
            self.flush()
            if time.monotonic() - self._tidied_at >= TRIM_INTERVAL_S:
                self._tidied_at = time.monotonic()
                self._looked_for.clear()
                self._tidy()
        except (PortUnavailable, SinkRejected) as error:
            log.warning("old served reads stay for now: %s", error)
        except Exception:
            # Whatever it is, it must not end the record of all answers to come.
            log.exception("served reads are not put on record")


def postgres_recorder(
    engine: Engine, projection: Projection[Any], view_digest: str, share: float, keep: int
) -> ServedReadRecorder:
    """One that writes to Postgres."""
    return ServedReadRecorder(
        share,
        lambda reads: add(engine, projection.name, view_digest, reads),
        lambda: trim(engine, keep),
        known=lambda reads: known(engine, projection.stream, reads),
    )
