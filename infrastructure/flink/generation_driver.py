"""Drives the follower of one generation with the batches of a Flink subtask."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

from infrastructure.flink.gathered_batches import Batches
from infrastructure.flink.pushed_records import Ends, PushedConsumer
from projections.live.stream_follower import StreamFollower

IDLE_CHECK_INTERVAL_S = 2.0
MAX_REFOLD_S = 0.5
"""Longest time for which one call goes on with the refold of a shard. The next batches wait meanwhile."""


class DriverReports(Protocol):
    """Where a driver reports its progress, once for each batch or heartbeat.

    ``lag``: events that were not folded at the last report. ``trouble``: the watchdog's finding, shown with the next.
    """

    lag: int
    trouble: str

    def report_if_due(self) -> None: ...


OpenFollower = Callable[[PushedConsumer], AbstractContextManager[StreamFollower[Any]]]
MakeReports = Callable[[StreamFollower[Any]], DriverReports]


class GenerationDriver:
    """The follower of one generation, with a consumer that Flink fills. One thread uses it."""

    def __init__(
        self,
        open_follower: OpenFollower,
        make_reports: MakeReports,
        ends: Ends,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_follower = open_follower
        self._make_reports = make_reports
        self._clock = clock
        self._consumer = PushedConsumer(ends, clock)
        self._opened = ExitStack()
        self._follower: StreamFollower[Any] | None = None
        self._reports: DriverReports | None = None
        self._idle_checked_at = clock()
        self._must_restart = False

    def receive(self, batches: Batches) -> int:
        """Fold the records of the partitions, none for a heartbeat. Returns how many events were applied.

        When it returns, the records are in the store with their fence. After an error the caller closes the driver:
        the next call connects again, and fills from the log what is missing. Raises TRANSIENT_ERRORS.
        """
        if self._must_restart:
            self.close()
        follower, reports = self._connected()
        before = follower.counters.applied
        for partition, records in batches.items():
            self._consumer.push(partition, records)
        follower.step(0)
        self._refold(follower)
        if self._clock() - self._idle_checked_at >= IDLE_CHECK_INTERVAL_S:
            self._idle_checked_at = self._clock()
            follower.idle_check()
        reports.report_if_due()
        return follower.counters.applied - before

    def progress(self) -> tuple[int, int]:
        """Events applied since it connected, and events not folded at the last report; callable from any thread."""
        follower, reports = self._follower, self._reports
        return (0, 0) if follower is None or reports is None else (follower.counters.applied, reports.lag)

    def set_trouble(self, message: str, *, restart: bool) -> None:
        """Show the watchdog's finding with the next report; ``restart``: the next ``receive`` connects again."""
        if (reports := self._reports) is not None:
            reports.trouble = message
        self._must_restart = restart

    def close(self) -> None:
        """Close the connections; the next ``receive`` opens them again."""
        self._must_restart = False
        self._follower = self._reports = None
        self._consumer.close()
        self._opened.close()

    def _connected(self) -> tuple[StreamFollower[Any], DriverReports]:
        if self._follower is None or self._reports is None:
            self._opened = ExitStack()
            self._follower = self._opened.enter_context(self._open_follower(self._consumer))
            self._reports = self._make_reports(self._follower)
        return self._follower, self._reports

    def _refold(self, follower: StreamFollower[Any]) -> None:
        until = self._clock() + MAX_REFOLD_S
        while follower.is_refolding and self._clock() < until:
            follower.step(0)
