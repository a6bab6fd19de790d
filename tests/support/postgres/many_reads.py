"""Reads of speeds as fast as a few connections give them, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import cast
from urllib.parse import urlsplit

import uvloop

from tests.support.time_limits import scaled_s
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.steady_load import BackgroundThread

CONNECTIONS = 16
RETRY_S = 0.05
"""An immediate retry would starve the other connections while the API or Redis is unavailable."""


class ManyReads(BackgroundThread):
    """Keep-alive connections that read one after the other; ``answered`` counts those with 200."""

    def __init__(self, ridelog: Ridelog, riders: list[str], seed: int, pause_s: float = 0.0) -> None:
        """``pause_s``: seconds that a connection waits between an answer and its next request."""
        super().__init__("many reads")
        self.pause_s = pause_s
        address = urlsplit(ridelog.info.http_url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._riders = riders
        self._chance = random.Random(seed)
        self._reached = threading.Condition()
        self.answered = 0
        self.refused = 0

    def wait_for(self, answers: int, within_s: float) -> None:
        """Until so many were answered in all."""
        with self._reached:
            assert self._reached.wait_for(lambda: self.answered >= answers or self.ended, scaled_s(within_s)), (
                self.answered
            )

    def path(self, chance: random.Random) -> str:
        """What the next request asks for."""
        return f"/riders/{chance.choice(self._riders)}/speed?allow_expired={chance.choice(('true', 'false'))}"

    def request(self) -> bytes:
        """The next request."""
        return f"GET {self.path(self._chance)} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n\r\n".encode()

    def count(self, *, is_ok: bool) -> None:
        """Count one answer."""
        if not is_ok:
            self.refused += 1
            return
        self.answered += 1
        if self.answered % 100 == 0:
            with self._reached:
                self._reached.notify_all()

    def run(self) -> None:
        uvloop.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._connection() for _ in range(CONNECTIONS)))

    async def _connection(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.stopping:
            try:
                _, connection = await loop.create_connection(lambda: _ReadConnection(self), self._host, self._port)
                await connection.ended
            except OSError:
                self.refused += 1
            if not self.stopping:
                await asyncio.sleep(RETRY_S)


class _ReadConnection(asyncio.Protocol):
    """One keep-alive connection: a request follows the answer before it. A million answers must cost the client little.

    ``ended`` is done once the connection has ended.
    """

    def __init__(self, reads: ManyReads) -> None:
        self._reads = reads
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transport of uvloop has the same interface without the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        _, named, length = head.lower().partition(b"content-length:")
        if not named:
            self.ended.set_exception(AssertionError(f"an answer without Content-Length: {head!r}"))
            self._transport.close()
            return
        if len(body) < int(length.split(maxsplit=1)[0]):
            return
        self._data = b""
        is_ok = head.startswith(b"HTTP/1.1 200")
        self._reads.count(is_ok=is_ok)
        pause_s = self._reads.pause_s if is_ok else RETRY_S
        if pause_s:
            self._loop.call_later(pause_s, self._next)
        else:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._reads.stopping:
            # The API was killed: the running request has no answer.
            self._reads.count(is_ok=False)
        if not self.ended.done():
            self.ended.set_result(None)

    def _next(self) -> None:
        if self._reads.stopping:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write(self._reads.request())
