"""Follows the end of the log for all streams of a process: one reader, however many subscribers there are."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from infrastructure.event_store.event_pages import RecordedEvent
from infrastructure.event_store.log_cursor import LogCursor
from infrastructure.event_store.log_head import LogHeadRow
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.events")

POLL_INTERVAL_S: Final = 0.1
"""While a subscriber waits. Without one, nothing is read."""
RETRY_INTERVAL_S: Final = 1.0
MAX_TAIL_EVENTS: Final = 5_000
"""Newest events in memory, a few kB each at most. A stream that is further behind reads pages from the database."""
_BATCH_EVENTS: Final = 1_000


class LogEnd(Protocol):
    """The newest part of the log. Blocks. Both raise PortUnavailable."""

    def head(self) -> LogHeadRow:
        """The head as last committed."""
        ...

    def between(self, after: int, upto: int, limit: int) -> list[RecordedEvent]:
        """All events after ``after`` up to ``upto``, at most ``limit``."""
        ...


class LogReplaced(Exception):
    """The log is another one than before, or was restored to an older state: positions have a new meaning."""


class LogTail:
    """Holds the newest events and wakes every waiting stream when more are recorded.

    A NOTIFY can be lost and a commit of another node sends no signal here, so the head is polled, by one thread.
    """

    def __init__(self, pages: LogEnd, interval_s: float = POLL_INTERVAL_S) -> None:
        self._pages = pages
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._events: list[RecordedEvent] = []  # contiguous positions that end at ``_upto``
        self._upto: int | None = None
        self._last = LogCursor(0)  # with the mark of the event at ``_upto``, if it was read
        self._before = LogCursor(0)  # likewise of the event before the first of ``_events``
        self._log_id = ""
        self._epoch = 0  # how often the log was replaced
        self._watchers = 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._wanted = threading.Event()
        self._stop = threading.Event()
        # A daemon: a database that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="log-tail", daemon=True)

    def start(self) -> None:
        """Start the thread. It reads nothing until a stream watches."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._wanted.set()
        self._thread.join(timeout=2.0)

    @contextmanager
    def watching(self) -> Iterator[int]:
        """While inside, the tail is kept current. Yields the epoch for ``since``."""
        with self._lock:
            self._watchers += 1
            self._wanted.set()
            epoch = self._epoch
        try:
            yield epoch
        finally:
            with self._lock:
                self._watchers -= 1
                if self._watchers == 0:
                    self._wanted.clear()
                    self._events, self._upto = [], None

    def since(self, reached: LogCursor, limit: int, epoch: int) -> list[RecordedEvent] | None:
        """The events after ``reached``, at most ``limit``; None if memory cannot say: a page can.

        A stream that has read further than the tail gets None too. The log may have been restored in between, and a
        page verifies that it still has the event at ``reached``. Raises LogReplaced if the log was replaced since
        ``epoch``, or has another event at ``reached``.
        """
        with self._lock:
            if epoch != self._epoch:
                raise LogReplaced
            if self._upto is None or reached.position > self._upto:
                return None
            start = reached.position - (self._upto - len(self._events))
            if start < 0:
                return None
            known = self._before if start == 0 else self._events[start - 1].cursor()
            if reached.mark and known.mark and reached.mark != known.mark:
                raise LogReplaced
            return self._events[start : start + limit]

    @property
    def position(self) -> int:
        """The last position that is in memory; -1 while the tail is not read."""
        with self._lock:
            return -1 if self._upto is None else self._upto

    async def wait(self, position: int, timeout_s: float) -> bool:
        """Wait until the log has an event after ``position``, or is replaced. Returns False after ``timeout_s``."""
        woken = asyncio.Event()
        waiter = (asyncio.get_running_loop(), woken)
        with self._lock:
            if self._upto is not None and self._upto > position:
                return True
            self._waiting.add(waiter)
        try:
            await asyncio.wait_for(woken.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiting.discard(waiter)
        return True

    def wake(self) -> None:
        """Wake every stream that waits, also to let it end."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        for loop, woken in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)

    def poll(self) -> bool:
        """Read what was recorded since the last poll. Returns whether more is waiting. Raises PortUnavailable."""
        head = self._pages.head()
        log_id = str(head.log_id)
        with self._lock:
            upto, known, last = self._upto, self._log_id, self._last
        replaced = bool(known) and (log_id != known or (upto is not None and head.position < upto))
        is_far = upto is None or head.position - upto > MAX_TAIL_EVENTS
        found: list[RecordedEvent] = []
        if upto is not None and head.position > upto and not replaced:
            # The last known event is read again: a log that was restored and has grown since has another one there.
            end, most = (upto, 1) if is_far else (head.position, _BATCH_EVENTS + 1)
            found = self._pages.between(max(0, upto - 1), end, most)
            if upto > 0 and found and found[0].position == upto:
                again = found.pop(0).cursor()
                replaced = bool(last.mark) and again != last
        if replaced or upto is None or is_far:
            newest = self._pages.between(max(0, head.position - 1), head.position, 1)
            with self._lock:
                self._epoch += replaced
                self._events, self._upto, self._log_id = [], head.position, log_id
                self._last = self._before = newest[-1].cursor() if newest else LogCursor(head.position)
            self.wake()
            return False
        if head.position == upto:
            return False
        with self._lock:
            if self._upto != upto:
                return True  # the last watcher left meanwhile
            if found and found[0].position == upto + 1:
                self._events += found
                if (surplus := len(self._events) - MAX_TAIL_EVENTS) > 0:
                    self._before = self._events[surplus - 1].cursor()
                    del self._events[:surplus]
                self._upto, self._last = found[-1].position, found[-1].cursor()
            else:
                # A partition was detached behind the head: streams read what is left by pages, and get its error.
                self._events, self._upto = [], head.position
                self._last = self._before = LogCursor(head.position)
        self.wake()
        return len(found) >= _BATCH_EVENTS

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wanted.wait()
            more, wait_s = False, self._interval_s
            try:
                more = not self._stop.is_set() and self.poll()
            except (PortUnavailable, SinkRejected) as error:
                log.info("the end of the log is not read for now: %s", error)
                wait_s = RETRY_INTERVAL_S
            except Exception:
                # The thread must survive any error: every stream waits for it.
                log.exception("the end of the log cannot be read")
                wait_s = RETRY_INTERVAL_S
            if not more:
                self._stop.wait(wait_s)
