"""The city process: makes a numbered city snapshot every two seconds, or waits while another city process does.

While nothing is recorded, a snapshot is made every ten seconds: a city of the same events differs by its clock alone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.observability.stage_gauges import forget_freshness
from infrastructure.observability.stage_reports import StageProgress, StageReporter
from infrastructure.observability.watchdog import Watchdog, WorkSample, WorkState
from infrastructure.postgres.advisory_locks import try_session_lock
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots, StoredCity
from infrastructure.process_pool import tune_gc
from infrastructure.processes.city_maker import CityMaker, CityNotReady
from infrastructure.processes.projections import BACKGROUND_NICENESS
from infrastructure.processes.runtime import STUCK_EXIT_CODE, run_until_stopped, stack_summary, stop_event
from infrastructure.settings.settings import Settings
from infrastructure.timestamps import now_ms
from projections.core.ports import PortUnavailable, SinkRejected

log = logging.getLogger("ridelog.city")

STAGE = "city"
ROUND_INTERVAL_S = 2.0
"""A city changes by the minute; ten features of one request have the age of its snapshot in common."""
UNCHANGED_INTERVAL_S = 10.0
"""Between two snapshots of the same events. Bounds how late an hour or a bucket of five minutes is left out, and how
late a key counts again that was retried or discarded, which the log's head does not show."""
WATCH_INTERVAL_S = 0.5
_TRANSIENT_ERRORS = (PortUnavailable, SinkRejected, CityNotReady, SQLAlchemyError)


def main(settings: Settings) -> None:
    """Run until SIGTERM, with lower priority: an answer does not wait for a snapshot."""
    stop = stop_event()
    tune_gc()
    os.nice(BACKGROUND_NICENESS)
    CityProcess(settings, stop).run()


class _Made(NamedTuple):
    """The newest snapshot of this process. ``at``: when its making began, monotonic seconds."""

    city: StoredCity
    at: float


def is_due(age_s: float, has_all: Callable[[], bool]) -> bool:
    """Whether the next snapshot is made, ``age_s`` seconds after the newest. ``has_all``: it has all events."""
    return age_s >= UNCHANGED_INTERVAL_S or not has_all()


class CityProcess:
    """Makes snapshots in a thread. The main thread ends the process if that thread hangs."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._backends = Backends(settings, pool_size=3)
        self._reporter: StageReporter | None = None
        self._made: _Made | None = None
        self._beats = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="city")

    def run(self) -> None:
        """Run until ``stop``. Raises the error that ended the thread, if it is not transient."""
        watchdog = Watchdog()
        self._thread.start()
        while self._thread.is_alive() and not self._stop.wait(WATCH_INTERVAL_S):
            found = watchdog.observe(STAGE, WorkSample(self._beats, self._beats, 0), time.monotonic())
            metrics.STAGE_STUCK.labels(STAGE).set(found.state is WorkState.HANGS)
            if found.state is WorkState.HANGS and found.give_up:
                log.critical("the city %s, at %s; this process ends", found.message, stack_summary(self._thread))
                # A thread cannot be killed, so the process ends. The next one reads the tables again.
                os._exit(STUCK_EXIT_CODE)
        self._thread.join()
        self._backends.close()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            run_until_stopped(self._attempt, self._stop, _TRANSIENT_ERRORS, self._on_failure, STAGE)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._failure = error

    def _attempt(self) -> None:
        """Make snapshots until the first error. The lock of the session lets one process make them."""
        engine = self._backends.engine
        with engine.connect() as connection:
            try:
                while not try_session_lock(connection, "ridelog/city"):
                    connection.commit()
                    forget_freshness(STAGE)
                    self._beats += 1
                    if self._stop.wait(ROUND_INTERVAL_S):
                        return
                connection.commit()
                PostgresCitySnapshots(engine, self._settings.city_snapshots_keep).prune()
                maker, self._made = CityMaker(self._backends, now_ms), None
                while not self._stop.is_set():
                    self._round(maker)
                    # The lock is gone if its session is.
                    connection.execute(text("SELECT 1"))
                    connection.commit()
            finally:
                # Closing the session releases the lock, even if the server is unavailable.
                connection.invalidate()

    def _round(self, maker: CityMaker) -> None:
        started = time.monotonic()
        made = self._made
        if made is None or is_due(started - made.at, partial(maker.has_all, made.city)):
            made = self._made = _Made(maker.make(), started)
            metrics.CITY_SECONDS.observe(time.monotonic() - started)
        self._report(made.city, maker.foreign_shards())
        self._beats += 1
        self._stop.wait(max(0.0, ROUND_INTERVAL_S - (time.monotonic() - started)))

    def _report(self, city: StoredCity, foreign_shards: int) -> None:
        metrics.STAGE_FRESHNESS.labels(STAGE).set(max(0.0, time.time() - city.as_of_ms / 1_000))
        detail = {
            "snapshot": city.number,
            "generations": {name: vector.generation for name, vector in city.vectors.items()},
            "events": {name: sum(vector.seqs) for name, vector in city.vectors.items()},
            "foreign_shards": foreign_shards,
        }
        self._stage().report(StageProgress(newest_ms=city.as_of_ms, detail=detail))

    def _on_failure(self, reason: str) -> None:
        self._beats += 1
        self._backends.drop_connections()
        try:
            self._stage().report(StageProgress(state=reason))
        except SQLAlchemyError:
            return  # Postgres itself is unavailable: `status` shows this stage as silent

    def _stage(self) -> StageReporter:
        if self._reporter is None:
            self._reporter = StageReporter(self._backends.engine, STAGE)
        return self._reporter
