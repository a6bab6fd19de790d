"""Runs registry work on schemas from clients: one request at a time, in its own thread, with a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from infrastructure.http.errors import ApiError

MAX_WAITING_REQUESTS: Final = 32
MAX_WAIT_S: Final = 10.0

P = ParamSpec("P")
T = TypeVar("T")


class SerialWorker:
    """One thread with a queue. A check may take seconds, and must not block the threads that the API shares."""

    def __init__(self, max_waiting: int = MAX_WAITING_REQUESTS, max_wait_s: float = MAX_WAIT_S) -> None:
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._waiting = 0
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``work`` and returns its result.

        Raises what ``work`` raises, and ApiError 503 if its turn does not come in time.
        """
        if self._waiting >= self._max_waiting:
            raise _busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_s):
                await self._lock.acquire()
        except TimeoutError as error:
            raise _busy() from error
        finally:
            self._waiting -= 1
        try:
            return await asyncio.wrap_future(self._thread.submit(work, *args, **kwargs))
        finally:
            self._lock.release()


def _busy() -> ApiError:
    return ApiError(503, "registry_busy", "other schemas are being checked; send it again", {"Retry-After": "5"})
