"""Sends rows to a running ridelog: in batches, a few requests at a time, in bounded memory, optionally paced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from typing import NamedTuple, Protocol

from infrastructure.client.messages import PostReceipt
from infrastructure.imports.csv_reader import ImportRow
from infrastructure.imports.report import UNSENDABLE, ImportTally, RejectExamples, RejectFile

EARLY_S = 0.1
"""Rows due within this time are sent together. One request per row would be limited by the network, not by the pace."""


class Pacer:
    """Computes how long to wait before a row, so that event time runs ``speedup`` times as fast as the clock.

    The first row starts the clock. Rows that go back in event time (another rider's track) are due at once. So are
    rows after ``latest_ms``: waiting for the year 2099 of a broken clock would never end, and the server rejects it.
    """

    def __init__(self, speedup: float, clock: Callable[[], float], latest_ms: float = inf) -> None:
        """``clock`` is monotonic, in seconds; ``latest_ms`` is an event time in epoch milliseconds."""
        self._latest_ms = latest_ms
        self._speedup = speedup
        self._clock = clock
        self._first_ms: int | None = None
        self._began = 0.0

    def wait_s(self, event_ms: int | None) -> float:
        """Seconds until a row with this event time is due; 0 if it is due, or has no time."""
        if event_ms is None or event_ms > self._latest_ms:
            return 0.0
        if self._first_ms is None:
            self._first_ms, self._began = event_ms, self._clock()
        due = self._began + (event_ms - self._first_ms) / 1000.0 / self._speedup
        wait = due - self._clock()
        return wait if wait > EARLY_S else 0.0


class PostPings(Protocol):
    def __call__(self, items: Sequence[bytes], /) -> PostReceipt: ...


class ImportPlan(NamedTuple):
    """How to send: ``batch`` rows a request, ``concurrency`` requests at a time, paced by ``pacer`` if given."""

    batch: int
    concurrency: int
    pacer: Pacer | None = None


class Importer:
    """Sends rows and accounts for each. ``on_batch`` is called, in the calling thread, after each batch."""

    def __init__(
        self,
        post: PostPings,
        plan: ImportPlan,
        *,
        pause: Callable[[float], object],
        rejects: RejectFile | None = None,
        on_batch: Callable[[ImportTally], None] = lambda tally: None,
    ) -> None:
        self.tally = ImportTally()
        self.examples = RejectExamples()
        self._post = post
        self._plan = plan
        self._pause = pause
        self._rejects = rejects
        self._on_batch = on_batch

    def run(self, rows: Iterable[ImportRow], stop: Callable[[], None] = lambda: None) -> ImportTally:
        """Send every row. Raises what ``post`` or ``rows`` raises, after the requests under way have been counted.

        In that case ``stop`` is called first: it ends the retries of the requests under way.
        """
        waiting: deque[tuple[list[ImportRow], Future[PostReceipt]]] = deque()
        with ThreadPoolExecutor(self._plan.concurrency, thread_name_prefix="import") as pool:
            try:
                for batch in self._batches(rows):
                    items = [row.item for row in batch if row.item is not None]
                    waiting.append((batch, pool.submit(self._post_some, items)))
                    # Twice as many batches as concurrent requests: the next is always ready, and memory is bounded.
                    while waiting and (len(waiting) >= 2 * self._plan.concurrency or waiting[0][1].done()):
                        self._account(*waiting.popleft())
                while waiting:
                    self._account(*waiting.popleft())
            except BaseException:
                stop()
                for batch, future in waiting:
                    if not future.cancel() and future.exception() is None:
                        self._account(batch, future)
                raise
        return self.tally

    def _post_some(self, items: Sequence[bytes]) -> PostReceipt:
        return self._post(items) if items else PostReceipt()

    def _batches(self, rows: Iterable[ImportRow]) -> Iterator[list[ImportRow]]:
        batch: list[ImportRow] = []
        for row in rows:
            wait = self._plan.pacer.wait_s(row.time_ms) if self._plan.pacer else 0.0
            if wait and batch:
                yield batch
                batch = []
            if wait:
                self._pause(wait)
            batch.append(row)
            if len(batch) >= self._plan.batch:
                yield batch
                batch = []
        if batch:
            yield batch

    def _account(self, batch: list[ImportRow], future: Future[PostReceipt]) -> None:
        receipt = future.result()
        self.tally.add(len(batch), receipt)
        sent = [row for row in batch if row.item is not None]
        rejected = [(sent[item.index], item.code, item.detail) for item in receipt.rejected]
        rejected += [(row, UNSENDABLE, row.problem) for row in batch if row.item is None]
        for row, code, detail in sorted(rejected, key=lambda each: each[0].line):
            self.examples.add(row, code, detail)
            if self._rejects is not None:
                self._rejects.add(row, code, detail)
        self._on_batch(self.tally)
