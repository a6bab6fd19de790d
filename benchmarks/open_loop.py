"""A cheap HTTP client and an open loop: requests are sent when they are due, however slow the answers are."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple, cast
from urllib.parse import urlsplit

Answered = Callable[[bytes], None]
"""Callback for the body of a 200; must not raise."""


def clients(count: int) -> ProcessPoolExecutor:
    """``count`` client processes; the result of a task raises the error of its process."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("fork"))


class HttpError(Exception):
    """A malformed answer, or none: a benchmark of that server would measure nothing."""


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time; answers must have a Content-Length."""

    def __init__(self, lost: Callable[[Exception], None]) -> None:
        self._lost = lost
        self._data = b""
        self._answered: Answered | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the same interface without the base class.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, answered: Answered) -> None:
        """Send a request; only after the previous answer has arrived."""
        assert self._answered is None
        self._answered = answered
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        _, named, length = head.lower().partition(b"content-length:")
        if not named:
            self._lost(HttpError(f"an answer without Content-Length: {head[:200]!r}"))
            return
        if len(body) < int(length.split(b"\r\n", 1)[0]):
            return
        answered, self._answered, self._data = self._answered, None, b""
        if answered is None or head[9:12] != b"200":
            self._lost(HttpError(f"answered {head[:40]!r}: {body[:200]!r}"))
            return
        answered(body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None:
            self._lost(HttpError(f"the connection ended before the answer: {exc}"))

    def close(self) -> None:
        """Close a connection that waits for no answer."""
        self._transport.close()


class Pool:
    """``size`` connections to ``url``. A request waits while all of them are busy, and its wait is measured."""

    def __init__(self, url: str, size: int) -> None:
        address = urlsplit(url)
        self._host, self._port, self._size = address.hostname or "", address.port or 80, size
        # Used in turn, because the server closes a connection that is idle for long.
        self._free: deque[Connection] = deque()
        self._waiting: deque[tuple[bytes, Answered]] = deque()
        self._failure: Exception | None = None

    @property
    def host(self) -> bytes:
        """The value of the header Host."""
        return f"{self._host}:{self._port}".encode()

    async def open(self) -> None:
        """Open all connections. Raises OSError."""
        loop = asyncio.get_running_loop()
        for _ in range(self._size):
            _, connection = await loop.create_connection(lambda: Connection(self._fail), self._host, self._port)
            self._free.append(connection)

    def request(self, request: bytes, answered: Answered) -> None:
        """Send a request, or queue it. Raises HttpError if an earlier request has failed."""
        self.check()
        if self._free:
            self._send(self._free.popleft(), request, answered)
        else:
            self._waiting.append((request, answered))

    async def drain(self, within_s: float) -> None:
        """Wait until every request is answered. Raises HttpError, also if that takes longer than ``within_s``."""
        deadline = time.monotonic() + within_s
        while len(self._free) < self._size:
            self.check()
            if time.monotonic() > deadline:
                left = self._size - len(self._free) + len(self._waiting)
                raise HttpError(f"{left} requests are unanswered {within_s:.0f} s after the last one")
            await asyncio.sleep(0.005)

    def check(self) -> None:
        """Raises the error of a failed connection."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        for connection in self._free:
            connection.close()

    def _send(self, connection: Connection, request: bytes, answered: Answered) -> None:
        def done(body: bytes) -> None:
            answered(body)
            if self._waiting:
                self._send(connection, *self._waiting.popleft())
            else:
                self._free.append(connection)

        connection.send(request, done)

    def _fail(self, error: Exception) -> None:
        self._failure = error


async def paced(every_s: float, count: int, turn: Callable[[int, float], None]) -> None:
    """Call ``turn(number, due)`` ``count`` times, ``every_s`` apart; ``due`` is on the clock of perf_counter.

    Late turns run at once and keep the time at which they were due, so a pause of the server or of this client counts
    for every request that it delayed.
    """
    start = time.perf_counter() + 0.05
    number = 0
    while number < count:
        now = time.perf_counter()
        while number < count and start + number * every_s <= now:
            turn(number, start + number * every_s)
            number += 1
        await asyncio.sleep(max(0.0, start + number * every_s - time.perf_counter()))


class Spread(NamedTuple):
    """Percentiles of latencies, in milliseconds."""

    p50: float
    p99: float
    longest: float


def spread(seconds: list[float]) -> Spread:
    """Percentiles by nearest rank, rounded up. Raises IndexError for an empty list."""
    ordered = sorted(seconds)
    ranks = [-(-len(ordered) * percent // 100) - 1 for percent in (50, 99, 100)]
    return Spread(*(ordered[rank] * 1e3 for rank in ranks))
