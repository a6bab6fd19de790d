"""The projections as a program: every generation that this code has the fold of is kept up to date."""

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
from infrastructure.observability.watchdog import Watchdog
from infrastructure.operations.parity_monitor import ParityMonitor
from infrastructure.process_pool import tune_gc
from infrastructure.processes.projection_worker import ProjectionWorker, stage_name
from infrastructure.processes.runtime import RESTART_DELAYS_S, stack_summary, stop_event
from infrastructure.settings.settings import Settings
from projections.catalogue import POINT_READ, PROJECTIONS, audited_in
from projections.core.ports import PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.digest.digest import fold_digest
from projections.rebuild.generations import Generation, is_kept_up

log = logging.getLogger("ridelog.projections")

YIELDS = 5
"""Steps of niceness of a process that answers nobody: where cores are short, it gets a third of what the others get."""
GENERATION_POLL_INTERVAL_S = 0.5
"""How soon a generation that a rebuild has made ready is taken up."""


def main(settings: Settings, names: Sequence[str] = tuple(PROJECTIONS)) -> None:
    """Run ``names`` until SIGTERM; where cores are short, behind the others if none of them answers requests.

    One thread a generation; a failing one is tried again without disturbing the others.
    """
    stop = stop_event()
    tune_gc()
    followed = [PROJECTIONS[name] for name in names]
    if not any(one in POINT_READ for one in followed):
        os.nice(YIELDS)
    WorkerManager(settings, followed, stop).run()


class _RunningWorker(NamedTuple):
    follower: ProjectionWorker
    thread: threading.Thread
    stop: threading.Event


class WorkerManager:
    """Starts and ends followers as generations come and go."""

    def __init__(self, settings: Settings, projections: Sequence[Projection[Any]], stop: threading.Event) -> None:
        self._settings = settings
        self._projections = projections
        self._stop = stop
        self._backends = Backends(settings, pool_size=2)
        self._engine = self._backends.engine
        self._generations = self._backends.generations
        self._running: dict[tuple[str, int], _RunningWorker] = {}
        self._active: dict[str, int] = {}
        self._failures: list[BaseException] = []
        self._waiting: dict[str, StageReporter] = {}
        self._watchdog = Watchdog()
        self._hanging: set[tuple[str, int]] = set()
        self._auditors = [
            ParityMonitor(settings, one) for one in audited_in([projection.name for projection in projections])
        ]

    def run(self) -> None:
        """Until ``stop``, or until a follower ends by an error that does not pass by itself."""
        misses = 0
        for auditor in self._auditors:
            auditor.start()
        try:
            while not self._stop.is_set():
                try:
                    found = self._generations.all_by_projection()
                    for projection in self._projections:
                        self._look(projection, found.get(projection.name, []))
                    misses = 0
                except (PortUnavailable, SinkRejected) as error:
                    log.warning("generations cannot be read: %s", error)
                    misses += 1
                self._watch()
                self._stop.wait(
                    RESTART_DELAYS_S[min(misses, len(RESTART_DELAYS_S) - 1)] if misses else GENERATION_POLL_INTERVAL_S
                )
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

    def _look(self, projection: Projection[Any], found: Sequence[Generation]) -> None:
        if not found:
            self._generations.first(projection)
            found = self._generations.all(projection.name)
        for generation in found:
            if generation.active:
                self._active[projection.name] = generation.number
                if not generation.is_of(projection):
                    self._tell_rebuild_due(projection, generation)
        wanted = {g.number for g in found if is_kept_up(g, projection)}
        for name, number in list(self._running):
            if name == projection.name and number not in wanted:
                self._end(projection, number, dropped=all(g.number != number for g in found))
        for number in sorted(wanted):
            if (projection.name, number) not in self._running:
                self._start(projection, number)

    def _end(self, projection: Projection[Any], number: int, *, dropped: bool) -> None:
        log.info("generation is kept up no more", extra={"projection": projection.name, "generation": number})
        running = self._running.pop((projection.name, number))
        running.stop.set()
        running.thread.join()
        self._watchdog.forget(f"{projection.name}@{number}")
        if not dropped:
            return
        # The generation was cleared while our worker could still write: what that wrote must not stay.
        self._backends.stores.sink(projection, number).drop()

    def _start(self, projection: Projection[Any], number: int) -> None:
        stop = threading.Event()
        name = projection.name
        follower = ProjectionWorker(self._settings, projection, number, lambda: self._active.get(name) == number, stop)

        def guarded() -> None:
            try:
                follower.run()
            except BaseException as error:
                # An error that does not pass by itself ends the process: its supervisor tells, and starts it anew.
                self._failures.append(error)
                self._stop.set()
                raise

        thread = threading.Thread(target=guarded, name=f"{name}@{number}")
        self._running[name, number] = _RunningWorker(follower, thread, stop)
        log.info("generation is kept up to date", extra={"projection": name, "generation": number})
        thread.start()

    def _watch(self) -> None:
        """A worker that is alive and does not move is worse than a dead one: nobody would start it again."""
        for (name, number), running in self._running.items():
            found = self._watchdog.look(f"{name}@{number}", running.follower.sample(), time.monotonic())
            if found.state == "moving":
                self._hanging.discard((name, number))
                running.follower.warn("", start_anew=False)
                continue
            running.follower.warn(found.words, start_anew=found.give_up)
            if found.state == "hangs":
                if (name, number) not in self._hanging:
                    self._hanging.add((name, number))
                    log.error("the worker of %s@%d hangs at %s", name, number, stack_summary(running.thread))
                self._report(
                    stage_name(name, number, is_active=self._active.get(name) == number),
                    StageProgress(state=found.words),
                )
                if found.give_up:
                    log.critical(
                        "the worker of %s@%d %s; this process ends and is started anew", name, number, found.words
                    )
                    # Its thread cannot be ended; nothing is lost, for what is applied is in the store with its fence.
                    os._exit(70)

    def _report(self, stage: str, progress: StageProgress) -> None:
        try:
            self._waiting.setdefault(stage, StageReporter(self._engine, stage)).report(progress)
        except SQLAlchemyError as error:
            log.warning("the state of %s (%s) could not be told: %s", stage, progress.state, error)

    def _tell_rebuild_due(self, projection: Projection[Any], generation: Generation) -> None:
        """Invariant 9: this code does not write what another fold has written; it says so, once a second."""
        name = projection.name
        words = f"generation {generation.number} was folded by other code: rebuild-projection {name}"
        metrics.REBUILD_DUE.labels(name).set(1)
        detail = {"rebuild_due": words, "generation": generation.number, "fold": fold_digest(projection)}
        self._report(name, StageProgress(state="running", detail=detail))
