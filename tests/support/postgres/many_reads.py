"""Reads of speeds as fast as a few connections give them, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import random
import threading
from urllib.parse import urlsplit

from tests.support.time_limits import scaled_s
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.steady_load import BackgroundThread

CONNECTIONS = 16


class ManyReads(BackgroundThread):
    """Keep-alive connections that read one after the other; ``answered`` counts those with 200."""

    def __init__(self, ridelog: Ridelog, riders: list[str], seed: int) -> None:
        super().__init__("many reads")
        address = urlsplit(ridelog.info.http_url)
        self._host, self._port = address.hostname, address.port
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

    def run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._connection() for _ in range(CONNECTIONS)))

    async def _connection(self) -> None:
        while not self.stopping:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
                while not self.stopping:
                    await self._one(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                # The API was killed: the running requests have no answer.
                self.refused += 1
                await asyncio.sleep(0.05)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = f"GET {self.path(self._chance)} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n\r\n"
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split()[0])
        await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200"):
            # Redis is unavailable; an immediate retry would starve the other tasks.
            self.refused += 1
            await asyncio.sleep(0.05)
            return
        self.answered += 1
        if self.answered % 100 == 0:
            with self._reached:
                self._reached.notify_all()
