"""The process that runs projections: keeps every generation up to date that has this code's fold."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from infrastructure.backends import Backends
from infrastructure.observability import metrics
from infrastructure.observability.stage_reports import StageProgress, StageReporter
from infrastructure.observability.watchdog import Watchdog, WorkState
from infrastructure.operations.city_monitor import CityMonitor
from infrastructure.operations.drift_monitor import DriftMonitor
from infrastructure.operations.generation_follower import stage_name
from infrastructure.operations.parity_monitor import ParityMonitor
from infrastructure.process_pool import tune_gc
from infrastructure.processes.projection_worker import ProjectionWorker
from infrastructure.processes.runtime import STUCK_EXIT_CODE, join_or_end_process, stack_summary, stop_event
from infrastructure.processes.worker_groups import (
    audited_projections,
    audits_city,
    is_background,
    served_projections,
)
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS
from projections.core.ports import PortUnavailable, Sink, SinkRejected
from projections.core.projection import Projection
from projections.core.retry import SERVICE_RETRY_DELAYS_S, RetryDelays
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generation, is_kept_up
from projections.rebuild.pending_drops import PendingDrops

log = logging.getLogger("ridelog.projections")

BACKGROUND_NICENESS = 5
"""Niceness of a process without point reads: where cores are short, it gets a third of the share of the others."""
GENERATION_POLL_INTERVAL_S = 0.5
"""Bounds how long a generation that a rebuild has made ready waits for its worker."""


def main(settings: Settings, names: Sequence[str] = ()) -> None:
    """Run ``names``, or all that the settings name, until SIGTERM, with lower priority if no answer waits for them.

    Each generation has a thread; a failing one is retried without disturbing the others.
    """
    stop = stop_event()
    tune_gc()
    names = names or served_projections(settings)
    followed = [PROJECTIONS[name] for name in names]
    if is_background(names):
        os.nice(BACKGROUND_NICENESS)
    WorkerManager(settings, followed, stop).run()


class _RunningWorker(NamedTuple):
    worker: ProjectionWorker
    thread: threading.Thread
    stop: threading.Event


class WorkerManager:
    """Starts and stops workers as generations are created and dropped."""

    def __init__(self, settings: Settings, projections: Sequence[Projection[Any]], stop: threading.Event) -> None:
        self._settings = settings
        self._projections = projections
        self._stop = stop
        self._backends = Backends(settings, pool_size=2)
        self._engine = self._backends.engine
        self._generations = self._backends.generations
        self._pending_drops = PendingDrops(self._sink)
        self._running: dict[tuple[str, int], _RunningWorker] = {}
        self._active: dict[str, int] = {}
        self._failures: list[BaseException] = []
        self._reporters: dict[str, StageReporter] = {}
        self._watchdog = Watchdog()
        self._hanging: set[tuple[str, int]] = set()
        followed, served = [projection.name for projection in projections], served_projections(settings)
        self._auditors: list[ParityMonitor | CityMonitor | DriftMonitor] = [
            ParityMonitor(settings, projection) for projection in audited_projections(followed, served)
        ]
        if audits_city(followed, served):
            self._auditors += [CityMonitor(settings), DriftMonitor(settings)]

    def run(self) -> None:
        """Run until ``stop``, or until a worker ends with a permanent error."""
        delays = RetryDelays(SERVICE_RETRY_DELAYS_S)
        for auditor in self._auditors:
            auditor.start()
        try:
            while not self._stop.is_set():
                try:
                    found = self._generations.all_by_projection()
                    for projection in self._projections:
                        self._reconcile(projection, found.get(projection.name, []))
                    self._pending_drops.drop_all(found)
                    delays.reset()
                    delay_s = GENERATION_POLL_INTERVAL_S
                except (PortUnavailable, SinkRejected) as error:
                    log.warning("generations cannot be read or dropped: %s", error)
                    # A kept connection to a server that has become a standby would fail again, for ever.
                    self._backends.drop_connections()
                    delay_s = delays.next_s()
                self._check_workers()
                self._stop.wait(delay_s)
        finally:
            for auditor in self._auditors:
                auditor.stop()
            for running in self._running.values():
                running.stop.set()
            for running in self._running.values():
                running.thread.join()
            self._backends.close()
        if self._failures:
            raise SystemExit(f"projections stopped: {self._failures[0]!r}")

    def _reconcile(self, projection: Projection[Any], found: Sequence[Generation]) -> None:
        """Run exactly the workers of the generations that have this code's fold."""
        if not found:
            self._generations.first(projection)
            found = self._generations.all(projection.name)
        for generation in found:
            if generation.active:
                self._active[projection.name] = generation.number
                if not generation.is_of(projection):
                    self._report_rebuild_due(projection, generation)
        wanted = {g.number for g in found if is_kept_up(g, projection)}
        for name, number in list(self._running):
            if name == projection.name and number not in wanted:
                self._stop_worker(projection, number, dropped=all(g.number != number for g in found))
        for number in sorted(wanted):
            if (projection.name, number) not in self._running:
                self._start_worker(projection, number)

    def _stop_worker(self, projection: Projection[Any], number: int, *, dropped: bool) -> None:
        log.info("stopping the worker of a generation", extra={"projection": projection.name, "generation": number})
        running = self._running.pop((projection.name, number))
        running.stop.set()
        # Without a bound, a worker that hangs while it closes its consumer would keep this thread, which starts and
        # watches all others.
        join_or_end_process(running.thread, f"the worker of {projection.name}@{number}")
        self._watchdog.forget(f"{projection.name}@{number}")
        if dropped:
            # The generation was cleared while our worker could still write: what that wrote must not stay.
            self._pending_drops.add(projection, number)

    def _sink(self, projection: Projection[Any], number: int) -> Sink:
        return self._backends.stores.sink(projection, number)

    def _start_worker(self, projection: Projection[Any], number: int) -> None:
        stop = threading.Event()
        name = projection.name
        worker = ProjectionWorker(self._settings, projection, number, lambda: self._active.get(name) == number, stop)

        def guarded() -> None:
            try:
                worker.run()
            except BaseException as error:
                # A permanent error ends the process; its supervisor logs that and restarts it.
                self._failures.append(error)
                self._stop.set()
                raise

        thread = threading.Thread(target=guarded, name=f"{name}@{number}")
        self._running[name, number] = _RunningWorker(worker, thread, stop)
        log.info("starting the worker of a generation", extra={"projection": name, "generation": number})
        thread.start()

    def _check_workers(self) -> None:
        """Restart a worker that is alive and makes no progress: unlike a dead one, no supervisor would restart it."""
        for (name, number), running in self._running.items():
            found = self._watchdog.observe(f"{name}@{number}", running.worker.sample(), time.monotonic())
            if found.state is WorkState.MOVING:
                self._hanging.discard((name, number))
                running.worker.set_trouble("", restart=False)
                continue
            running.worker.set_trouble(found.message, restart=found.give_up)
            if found.state is WorkState.HANGS:
                if (name, number) not in self._hanging:
                    self._hanging.add((name, number))
                    log.error("the worker of %s@%d hangs at %s", name, number, stack_summary(running.thread))
                self._report(
                    stage_name(name, number, is_active=self._active.get(name) == number),
                    StageProgress(state=found.message),
                )
                if found.give_up:
                    log.critical(
                        "the worker of %s@%d %s; this process ends and is restarted", name, number, found.message
                    )
                    # A thread cannot be killed, so the process ends. Applied events are stored with their fence.
                    os._exit(STUCK_EXIT_CODE)

    def _report(self, stage: str, progress: StageProgress) -> None:
        try:
            self._reporters.setdefault(stage, StageReporter(self._engine, stage)).report(progress)
        except SQLAlchemyError as error:
            log.warning("the state of %s (%s) could not be reported: %s", stage, progress.state, error)

    def _report_rebuild_due(self, projection: Projection[Any], generation: Generation) -> None:
        """Invariant 9: this code does not write to a generation of another fold. Reports that once a second."""
        name = projection.name
        message = f"generation {generation.number} was folded by other code: rebuild-projection {name}"
        metrics.REBUILD_DUE.labels(name).set(1)
        detail = {"rebuild_due": message, "generation": generation.number, "fold": fold_digest(projection)}
        self._report(name, StageProgress(state="running", detail=detail))
