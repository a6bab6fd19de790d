"""Records a share of the answers in a thread of its own: no request waits for it, or fails because of it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

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
"""Reads that wait to be written, ~500 bytes each. Further ones are counted and dropped (invariant 15)."""

MAX_MISSING_KEYS = 1_000
"""Bounds the unknown keys that wait for a check in the log, and the remembered ones: a client may invent any number."""


class Recordable(Protocol):
    """An answer that can be recorded."""

    @property
    def key(self) -> str: ...

    @property
    def is_missing(self) -> bool:
        """Whether the answer was that the key is not known."""
        ...


R = TypeVar("R", bound=Recordable)


class ServedReadRecorder(Generic[R]):
    """Called with every answer, in the request's thread; stores a random ``share`` (0..1) of them.

    An answer that a key is unknown is always stored if the log has the key, once per key in TRIM_INTERVAL_S: such
    answers are rare, and each is a lost state. With a share of 0 nothing is stored.
    """

    def __init__(
        self,
        share: float,
        write: Callable[[Sequence[R]], int],
        trim: Callable[[], None],
        *,
        known: Callable[[Sequence[R]], Sequence[R]] = lambda reads: reads,
        max_waiting: int = MAX_WAITING_READS,
        keeps_trying: bool = False,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``write`` stores all of them, or raises PortUnavailable; it returns how many were stored.

        ``keeps_trying``: while the database is unavailable, reads wait for the next round, within ``max_waiting``.
        ``known`` returns those whose key the log has at their position, or raises PortUnavailable.
        """
        self._share = share
        self._write = write
        self._trim = trim
        self._known = known
        self._missing: deque[R] = deque()
        self._checked_keys: set[str] = set()
        self._max_waiting = max_waiting
        self._keeps_trying = keeps_trying
        self._chance = chance
        self._waiting: deque[R] = deque()
        self._trimmed_at = time.monotonic()
        self._stop = threading.Event()
        # A daemon: a server that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="served-reads", daemon=True)

    def __call__(self, read: R) -> None:
        if read.is_missing:
            self._add_missing(read)
            return
        if self._chance() >= self._share:
            return
        if len(self._waiting) >= self._max_waiting:
            metrics.SERVED_READS_DROPPED.inc()
            return
        self._waiting.append(read)

    def _add_missing(self, read: R) -> None:
        # A key beyond the bound is checked at its next request.
        if self._share > 0 and read.key not in self._checked_keys and len(self._checked_keys) < MAX_MISSING_KEYS:
            self._checked_keys.add(read.key)
            self._missing.append(read)

    def start(self) -> None:
        if self._share > 0:
            self._thread.start()

    def stop(self) -> None:
        """Write the waiting reads if the database answers at once, and stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def flush(self) -> None:
        """Write all waiting reads. Those that cannot be written are counted and dropped, or wait for the next round."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        missing = [self._missing.popleft() for _ in range(len(self._missing))]
        if not batch and not missing:
            return
        stored = 0
        try:
            batch += self._known(missing)
            stored = self._write(batch) if batch else 0
        except PortUnavailable as error:
            if self._keeps_trying:
                # At INFO only: the stages themselves report the unavailable server.
                log.info("%s served reads wait to be recorded: %s", f"{len(batch):,}", error)
                batch = self._return(batch)
            else:
                log.warning("%s served reads are not recorded: %s", f"{len(batch):,}", error)
        except SinkRejected as error:
            log.warning("%s served reads are not recorded: %s", f"{len(batch):,}", error)
        metrics.SERVED_READS.inc(stored)
        metrics.SERVED_READS_DROPPED.inc(len(batch) - stored)

    def _return(self, batch: Sequence[R]) -> list[R]:
        """Put the newest of ``batch`` that the bound has room for before the waiting reads. Returns the others."""
        room = max(0, self._max_waiting - len(self._waiting))
        dropped = max(0, len(batch) - room)
        self._waiting.extendleft(reversed(batch[dropped:]))
        return list(batch[:dropped])

    def _run(self) -> None:
        while not self._stop.wait(WRITE_INTERVAL_S):
            self._run_round()
        self._run_round()

    def _run_round(self) -> None:
        try:
            self.flush()
            if time.monotonic() - self._trimmed_at >= TRIM_INTERVAL_S:
                self._trimmed_at = time.monotonic()
                self._checked_keys.clear()
                self._trim()
        except (PortUnavailable, SinkRejected) as error:
            log.warning("old served reads are not deleted for now: %s", error)
        except Exception:
            # No error may end the recording of later answers.
            log.exception("served reads are not recorded")


def postgres_recorder(
    engine: Engine, projection: Projection[Any], view_digest: str, share: float, keep: int
) -> ServedReadRecorder[ServedRead]:
    """A recorder of reads of one projection that writes to Postgres."""
    return ServedReadRecorder(
        share,
        lambda reads: add(engine, projection.name, view_digest, reads),
        lambda: trim(engine, keep),
        known=lambda reads: known(engine, projection.stream, reads),
    )
