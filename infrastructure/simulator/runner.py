"""Sends what a fleet's phones send, in real time or as fast as the server takes it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from infrastructure.client.receipts import Receipt
from infrastructure.simulator.phone import Upload
from infrastructure.simulator.totals import Totals

TICK_S = 0.05
"""In real time, uploads due within one tick share a request, as behind a gateway: 1,000 riders need no 1,000 requests
a second."""

MAX_TOGETHER = 2_000
"""Pings after which a request is sent, due or not."""


class Post(Protocol):
    def __call__(self, pings: Sequence[Mapping[str, Any]], /) -> Receipt: ...


class Runner:
    """One run. ``totals`` may be read, by any thread, while it lasts."""

    def __init__(self, post: Post, on_request: Callable[[Totals, float], None] = lambda *_: None) -> None:
        """``on_request(totals, simulated seconds)`` is called after each answer, in the thread of the run."""
        self.totals = Totals()
        self._post = post
        self._on_request = on_request

    def real_time(self, uploads: Iterable[Upload], stop: threading.Event, clock: Callable[[], float]) -> Totals:
        """Send each upload when it is due, second 0 being now, until there are no more or ``stop`` is set.

        ``clock`` in seconds, monotonic. After a time in which the server was away, what is overdue follows at once.
        Raises what ``post`` raises.
        """
        began = clock()
        due: list[Upload] = []
        size = 0
        for upload in uploads:
            at_s = math.ceil(upload.send_at_s / TICK_S) * TICK_S
            if due and (at_s > clock() - began or size >= MAX_TOGETHER):
                self._send(due)
                due, size = [], 0
            if stop.wait(max(0.0, began + at_s - clock())):
                return self.totals
            due.append(upload)
            size += len(upload.fixes)
        self._send(due)
        return self.totals

    def fast(self, uploads: Iterable[Upload], stop: threading.Event) -> Totals:
        """Send all uploads in their order, without waiting. Raises what ``post`` raises."""
        due: list[Upload] = []
        size = 0
        for upload in uploads:
            if stop.is_set():
                return self.totals
            due.append(upload)
            size += len(upload.fixes)
            if size >= MAX_TOGETHER:
                self._send(due)
                due, size = [], 0
        self._send(due)
        return self.totals

    def _send(self, uploads: Sequence[Upload]) -> None:
        if uploads:
            receipt = self._post([fix.ping for upload in uploads for fix in upload.fixes])
            self.totals.add(uploads, receipt)
            self._on_request(self.totals, uploads[-1].send_at_s)
