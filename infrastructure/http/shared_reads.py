"""Reads that pages poll: one for all requests that ask the same, in one thread; its outcome is kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from infrastructure.http.errors import unavailable

MAX_KEPT_READS: Final = 64
"""Reads that wait, run or are kept, of one ``SharedReads`` (invariant 15)."""
_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="shared-reads")
"""The loop's own few threads answer /health/ready: slow reads in them would take the node out of service."""

T = TypeVar("T")


@dataclass(slots=True)
class _Read(Generic[T]):
    outcome: asyncio.Future[T]
    ended_at_s: float | None = None


class SharedReads(Generic[T]):
    """Keeps the outcome of each read for ``interval_s`` after its end, a failure too. Used in one event loop."""

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._reads: OrderedDict[Hashable, _Read[T]] = OrderedDict()

    async def get(self, what: Hashable, read: Callable[[], T]) -> T:
        """The kept outcome of ``what``, or that of the read that runs, or of a new one. A request waits in no thread.

        Raises what ``read`` raises; ApiError 503 while too many other reads wait.
        """
        found = self._reads.get(what)
        if found is None or (found.ended_at_s is not None and self._clock() - found.ended_at_s >= self._interval_s):
            found = self._start(what, read)
        # Shielded: a client that leaves must not end the read of the others.
        return await asyncio.shield(found.outcome)

    def forget(self) -> None:
        """The next request reads again: what was read before has changed."""
        self._reads.clear()

    def _start(self, what: Hashable, read: Callable[[], T]) -> _Read[T]:
        self._reads.pop(what, None)
        if len(self._reads) >= MAX_KEPT_READS:
            self._drop_oldest()
        started = _Read(asyncio.get_running_loop().run_in_executor(_THREAD, read))

        def ended(outcome: asyncio.Future[Any]) -> None:
            started.ended_at_s = self._clock()
            # Also if all clients have left: asyncio logs a failure that no request has retrieved.
            if not outcome.cancelled():
                outcome.exception()

        started.outcome.add_done_callback(ended)
        self._reads[what] = started
        return started

    def _drop_oldest(self) -> None:
        for what, one in self._reads.items():
            if one.ended_at_s is not None:
                del self._reads[what]
                return
        raise unavailable("too_many_reads", f"{MAX_KEPT_READS} other reads wait; send it again")
