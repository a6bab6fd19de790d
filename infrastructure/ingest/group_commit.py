"""Group commit: concurrent requests share one transaction, and each is answered after its commit."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from eventsourcing.persistence import IntegrityError, PersistenceError

from domain.event_store import ClockAhead

log = logging.getLogger("ridelog.ingest")

FAILURE_COUNTS_S = 10.0
"""How long a failed append makes the node not ready. Bounded: a node that is not ready gets no requests, so no append
could succeed, and it would never become ready again."""

T = TypeVar("T")
R = TypeVar("R")

OnCommit = Callable[[int, int, float], None]
"""Called after each commit with the requests, the items and the seconds that it took."""


class QueueFull(Exception):
    """The queue has no room for these items now. None of them was recorded."""


class NotRecorded(Exception):
    """The event store did not answer. Whether the items were recorded is unknown; sending them again is safe."""


class ClockRefused(NotRecorded):
    """This node's clock is too far ahead of the database's. The message says by how much. Nothing was recorded."""


@dataclass
class _Request(Generic[T, R]):
    items: Sequence[T]
    future: asyncio.Future[list[R]]
    loop: asyncio.AbstractEventLoop
    came_at: float = field(default_factory=time.monotonic)
    outcome: list[R] | BaseException | None = field(default=None)


class GroupCommit(Generic[T, R]):
    """Records items (pings, or commands on deliveries) in one writer thread. ``submit`` works from any event loop.

    At most ``max_queued`` items wait (invariant 15). ``record`` has one outcome for each item.
    """

    def __init__(
        self,
        record: Callable[[Sequence[T]], list[R]],
        *,
        max_queued: int = 100_000,
        max_batch: int = 5_000,
        noun: str = "pings",
        on_commit: OnCommit = lambda requests, items, seconds: None,
    ) -> None:
        self._record = record
        self._max_queued = max_queued
        self._max_batch = max_batch
        self._noun = noun
        self._on_commit = on_commit
        self._queue: deque[_Request[T, R]] = deque()
        self._queued_items = 0
        self._committing: list[_Request[T, R]] = []
        self._failure = ""
        self._failed_at = 0.0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"group-commit-{noun}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commits the queued requests, then ends. Later submits raise QueueFull."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def queued(self) -> int:
        """Returns the number of items that wait for a transaction."""
        return self._queued_items

    def waiting(self) -> tuple[int, float]:
        """Returns how many items are not committed yet (including the running transaction), and the longest wait in
        seconds."""
        with self._changed:
            requests = [*self._committing, *self._queue]
        if not requests:
            return 0, 0.0
        return sum(len(request.items) for request in requests), time.monotonic() - requests[0].came_at

    def failure(self) -> str:
        """Returns why the last append failed, if that was in the last FAILURE_COUNTS_S seconds; else ""."""
        failure = self._failure
        return failure if time.monotonic() - self._failed_at < FAILURE_COUNTS_S else ""

    async def submit(self, items: Sequence[T]) -> list[R]:
        """Returns the outcomes of one request, after the commit that contains all of it.

        Raises QueueFull or NotRecorded. A request larger than the queue is accepted when the queue is empty.
        """
        if not items:
            return []
        loop = asyncio.get_running_loop()
        request: _Request[T, R] = _Request(items, loop.create_future(), loop)
        with self._changed:
            if self._stopping:
                raise QueueFull("this node is shutting down")
            if self._queue and self._queued_items + len(items) > self._max_queued:
                raise QueueFull(f"{self._queued_items} {self._noun} already wait for the event store")
            self._queue.append(request)
            self._queued_items += len(items)
            self._changed.notify()
        return await request.future

    def _run(self) -> None:
        while batch := self._next_batch():
            started = time.perf_counter()
            self._commit(batch)
            self._committing = []
            self._on_commit(len(batch), sum(len(r.items) for r in batch), time.perf_counter() - started)
            for loop in {id(request.loop): request.loop for request in batch}.values():
                self._answer(loop, [request for request in batch if request.loop is loop])

    def _next_batch(self) -> list[_Request[T, R]]:
        """Returns whole requests, since one request is one transaction. Empty means stop."""
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait()
            batch: list[_Request[T, R]] = []
            size = 0
            while self._queue and (not batch or size + len(self._queue[0].items) <= self._max_batch):
                request = self._queue.popleft()
                size += len(request.items)
                batch.append(request)
            self._queued_items -= size
            self._committing = batch
            return batch

    def _commit(self, batch: Sequence[_Request[T, R]]) -> None:
        try:
            outcomes = self._record([item for request in batch for item in request.items])
        except ClockAhead as error:
            log.error("requests answered with 503: %s", error)
            for request in batch:
                request.outcome = ClockRefused(str(error))
        except PersistenceError as error:
            if isinstance(error, IntegrityError) and len(batch) > 1:
                # The events of one aggregate conflict. Only requests with it may fail until that is repaired.
                self._commit_separately(batch)
                return
            log.error("event store unavailable, requests answered with 503: %s", error)
            if not isinstance(error, IntegrityError):
                self._failed_at = time.monotonic()
                self._failure = f"the last append failed: {' '.join(str(error).split())}"
            for request in batch:
                request.outcome = NotRecorded(str(error))
        except Exception as error:
            if len(batch) == 1:
                log.exception("a request could not be recorded")
                batch[0].outcome = error
                return
            self._commit_separately(batch)
        else:
            self._failure = ""
            start = 0
            for request in batch:
                request.outcome = outcomes[start : start + len(request.items)]
                start += len(request.items)

    def _commit_separately(self, batch: Sequence[_Request[T, R]]) -> None:
        """Commits each request alone, so that one that cannot be recorded does not fail the others of its batch."""
        for request in batch:
            self._commit([request])

    @staticmethod
    def _answer(loop: asyncio.AbstractEventLoop, batch: Sequence[_Request[T, R]]) -> None:
        def resolve() -> None:
            for request in batch:
                if request.future.done():  # the client has disconnected
                    continue
                if isinstance(request.outcome, list):
                    request.future.set_result(request.outcome)
                else:
                    request.future.set_exception(request.outcome or NotRecorded("no outcome"))

        try:
            loop.call_soon_threadsafe(resolve)
        except RuntimeError:
            log.warning("an event loop closed before %d requests were answered", len(batch))
