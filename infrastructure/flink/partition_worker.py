"""Folds the batches of one Flink subtask into every generation that this code keeps up to date."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from infrastructure.backends import Backends
from infrastructure.flink.gathered_batches import Batches
from infrastructure.flink.generation_driver import GenerationDriver
from infrastructure.flink.pushed_records import Ends
from infrastructure.observability.stage_reports import FLINK_DETAIL, StageProgress, StageReporter
from infrastructure.observability.watchdog import WorkSample
from infrastructure.operations.generation_follower import TRANSIENT_ERRORS, follower_of, stage_name
from infrastructure.operations.worker_metrics import WorkerMetrics
from infrastructure.settings.settings import Settings
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.core.retry import SERVICE_RETRY_DELAYS_S, RetryDelays
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generation, active, is_kept_up
from projections.rebuild.pending_drops import PendingDrops

log = logging.getLogger("ridelog.flink")

GENERATIONS_INTERVAL_S = 1.0
"""Bounds how long a generation that a rebuild has made ready waits until it is followed."""
MAX_RECORDS = 20_000
"""A batch of so many records shows that more wait: an idle shard may only be waiting for its turn."""


class Failing(NamedTuple):
    """A generation whose last attempt failed: when to try again, monotonic seconds, and the delays so far."""

    retry_at: float
    delays: RetryDelays


def samples_of(beats: int, progress: Mapping[int, tuple[int, int]]) -> dict[int, WorkSample]:
    """The samples of generations that one thread drives: ``progress`` has events applied, and lag, of each."""
    beats += sum(applied for applied, _ in progress.values())
    return {number: WorkSample(beats, applied, lag) for number, (applied, lag) in progress.items()}


class PartitionWorker:
    """One subtask of the job of one projection.

    An unavailable server never fails the job: Flink would restore offsets, and read the same records again, until it
    has no attempt left. The served generation is retried until its batch is in the store, so Kafka keeps what comes
    meanwhile. Another generation is retried with the next batch, and fills from the log what it has missed.
    """

    def __init__(
        self,
        settings: Settings,
        projection: Projection[Any],
        ends: Ends,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._projection = projection
        self._ends = ends
        self._clock = clock
        self._sleep = sleep
        self._backends = Backends(settings, pool_size=2)
        self._pending_drops = PendingDrops(self._backends.stores.sink)
        self._drivers: dict[int, GenerationDriver] = {}
        self._failing: dict[int, Failing] = {}
        self._active: int | None = None
        self._read_at = float("-inf")
        self._reporters: dict[str, StageReporter] = {}
        self._beats = 0
        self._is_called = False

    def receive(self, batches: Batches) -> int:
        """Fold the records of the partitions, none for a heartbeat. Returns how many events were applied.

        When it returns, the served generation has them in its store, with the fence that proves it.
        """
        self._is_called = True
        try:
            return self._receive(batches)
        finally:
            self._is_called = False

    def samples(self) -> dict[int, WorkSample]:
        """The progress of each generation, for the watchdog; callable from any thread.

        A worker that Flink does not call does not hang: that its events wait shows by their lag. Nor does a generation
        hang that waits in the same thread while another one catches up, so what any of them applies is a beat of all.
        """
        if not self._is_called:
            self._beats += 1
        found = [(number, driver.progress()) for number, driver in list(self._drivers.items())]
        return samples_of(self._beats, dict(found))

    def set_trouble(self, number: int, message: str, *, restart: bool) -> None:
        """Show the watchdog's finding in the stage's reports; ``restart``: the next batch connects again."""
        if (driver := self._drivers.get(number)) is not None:
            driver.set_trouble(message, restart=restart)

    def _receive(self, batches: Batches) -> int:
        applied, done = 0, set[int]()
        delays = RetryDelays(SERVICE_RETRY_DELAYS_S)
        while True:
            self._beats += 1
            try:
                self._follow_generations()
            except TRANSIENT_ERRORS as error:
                self._on_unavailable(error, delays)
                continue
            for number in [n for n in self._drivers if n not in done and self._is_due(n)]:
                if (count := self._attempt(number, batches)) is not None:
                    done.add(number)
                    applied += count if number == self._active else 0
            if self._active is None or self._active in done or self._active not in self._drivers:
                return applied
            self._sleep(max(0.0, self._failing[self._active].retry_at - self._clock()))

    def close(self) -> None:
        """Close all connections."""
        for driver in self._drivers.values():
            driver.close()
        self._backends.close()

    def _is_due(self, number: int) -> bool:
        return number not in self._failing or self._failing[number].retry_at <= self._clock()

    def _attempt(self, number: int, batches: Batches) -> int | None:
        """Events applied to the generation; None after an error, from which it will be tried again."""
        driver = self._drivers[number]
        try:
            applied = driver.receive(batches)
        except TRANSIENT_ERRORS as error:
            delays = self._failing[number].delays if number in self._failing else RetryDelays(SERVICE_RETRY_DELAYS_S)
            delay_s = delays.next_s()
            self._failing[number] = Failing(self._clock() + delay_s, delays)
            log.warning("%s@%d: %s: trying again in %.1f s", self._projection.name, number, error, delay_s)
            driver.close()
            self._backends.drop_connections()
            self._report(number, f"{type(error).__name__}: {error}")
            return None
        self._failing.pop(number, None)
        return applied

    def _on_unavailable(self, error: Exception, delays: RetryDelays) -> None:
        delay_s = delays.next_s()
        log.warning("the generations of %s cannot be read: %s: again in %.1f s", self._projection.name, error, delay_s)
        self._backends.drop_connections()
        self._sleep(delay_s)

    def _follow_generations(self) -> None:
        """Drive exactly the generations that have this code's fold (invariant 9). Raises TRANSIENT_ERRORS."""
        if self._clock() - self._read_at < GENERATIONS_INTERVAL_S:
            return
        projection, generations = self._projection, self._backends.generations
        if not (found := generations.all(projection.name)):
            generations.first(projection)
            found = generations.all(projection.name)
        served = active(found)
        self._active = None if served is None else served.number
        wanted = {one.number for one in found if is_kept_up(one, projection)}
        for number in self._drivers.keys() - wanted:
            self._stop_driver(number, dropped=all(one.number != number for one in found))
        for number in sorted(wanted - self._drivers.keys()):
            self._drivers[number] = self._driver(number)
        if served is not None and served.number not in wanted:
            self._report_rebuild_due(served)
        self._read_at = self._clock()
        try:
            self._pending_drops.drop_all({projection.name: found})
        except (PortUnavailable, SinkRejected) as error:
            # What is left of a dropped generation must not hold up the served one; it is tried again in a second.
            log.warning("a dropped generation of %s cannot be cleared yet: %s", projection.name, error)

    def _driver(self, number: int) -> GenerationDriver:
        projection, backends = self._projection, self._backends

        def is_active() -> bool:
            return self._active == number

        return GenerationDriver(
            lambda consumer: follower_of(backends, projection, number, lambda: consumer, is_active, MAX_RECORDS),
            lambda follower: WorkerMetrics(
                projection, number, follower, backends, lambda: self._reporter(number), FLINK_DETAIL
            ),
            self._ends,
            self._clock,
        )

    def _stop_driver(self, number: int, *, dropped: bool) -> None:
        self._drivers.pop(number).close()
        self._failing.pop(number, None)
        if dropped:
            # The generation was cleared while this subtask could still write: what that wrote must not stay.
            self._pending_drops.add(self._projection, number)

    def _reporter(self, number: int) -> StageReporter:
        name = stage_name(self._projection.name, number, is_active=self._active == number)
        if name not in self._reporters:
            self._reporters[name] = StageReporter(self._backends.engine, name)
        return self._reporters[name]

    def _report(self, number: int, state: str, **found: str) -> None:
        detail = {**FLINK_DETAIL, **found, "generation": number, "fold": fold_digest(self._projection)}
        try:
            self._reporter(number).report(StageProgress(state=state, detail=detail))
        except SQLAlchemyError as error:
            log.warning("the state of %s@%d could not be reported: %s", self._projection.name, number, error)

    def _report_rebuild_due(self, served: Generation) -> None:
        """Invariant 9: this code does not write to a generation of another fold."""
        name = self._projection.name
        message = f"generation {served.number} was folded by other code: rebuild-projection {name}"
        self._report(served.number, "running", rebuild_due=message)
