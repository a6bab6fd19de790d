"""Runs a rebuild on real servers: ``projections.rebuild.rebuild`` with processes, progress and a lock.

Parallel processes fill a generation by shards. Progress is read from the fences, which are its checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from domain.identifiers import SHARDS
from infrastructure.backends import FOLD_SETTINGS, Backends, open_backends, projection_named
from infrastructure.errors import UserError
from infrastructure.observability.stage_reports import StageReport, read_stages
from infrastructure.observability.watchdog import STUCK_AFTER_S
from infrastructure.operations.fill_jobs import ender_of_other_fills
from infrastructure.postgres.advisory_locks import try_session_lock
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.process_pool import OnTick, run_in_processes
from infrastructure.replay.exported_log import rebuild_log
from infrastructure.settings.settings import Settings
from projections.core.fold import Decode
from projections.core.ports import EventLog, PortUnavailable, Sink, SinkRejected
from projections.core.projection import Projection
from projections.core.retry import RetryPolicy
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.generations import Generation
from projections.rebuild.rebuild import Rebuild
from projections.rebuild.rebuild_ports import RebuildPorts


@contextmanager
def rebuild_lock(engine: Engine, projection: str) -> Iterator[None]:
    """Lock the rebuilds of a projection, by a lock of the session. Raises UserError if another one runs.

    A killed rebuild or a restart of Postgres frees the lock. Two rebuilds at once would only waste work, because every
    write is a compare-and-set.
    """
    with unavailable_as_port_error():
        connection = engine.connect()
    with connection:
        with unavailable_as_port_error():
            held = try_session_lock(connection, f"ridelog/rebuild/{projection}")
            connection.commit()
        if not held:
            raise UserError(f"another rebuild or rollback of {projection} is running; wait for it, or stop it")
        try:
            yield
        finally:
            # Closing the connection releases the lock, even if the server is unavailable.
            connection.invalidate()


FOLLOW_TIMEOUT_S = 60.0
FOLLOW_POLL_INTERVAL_S = 0.3
FRESH_REPORT_S = 5.0
"""A worker that follows reports every second: an older report does not show that it still does."""
ENDED_AFTER_S = STUCK_AFTER_S + 10.0
"""A worker silent for longer than this is not serving. A retrying worker reports after each attempt, which may take
long and starts up to 5 s after the previous one; for a hung worker its process reports after STUCK_AFTER_S."""


def wait_until_followed(engine: Engine, generation: Generation) -> None:
    """Return once a running service keeps ``generation`` up to date; at once if no service runs.

    Otherwise readers would be switched to a generation that no longer advances. That a service on another machine has
    ended shows only by its silence, after ENDED_AFTER_S.

    Raises:
        UserError: the service has other code, or does not follow the generation within a minute.
        PortUnavailable: Postgres does not answer.
    """
    deadline = time.monotonic() + FOLLOW_TIMEOUT_S
    while True:
        serving = _serving(generation.projection, engine)
        if not serving or any(_follows(report, generation.number) for report in serving):
            return
        has_the_fold = any(report.progress.detail.get("fold") == generation.fold_digest for report in serving)
        if not has_the_fold or time.monotonic() > deadline:
            raise UserError(
                f"the running `serve` does not take up generation {generation.number} of {generation.projection}; "
                "it is ready and kept: start `serve` with the code of this command, and run the command again"
            )
        time.sleep(FOLLOW_POLL_INTERVAL_S)


def _serving(projection: str, engine: Engine) -> list[StageReport]:
    with unavailable_as_port_error():
        reports = read_stages(engine)
    matching = [r for r in reports if r.stage.partition("@")[0] == projection]
    return [r for r in matching if r.alive and r.age_s < ENDED_AFTER_S]


def _follows(report: StageReport, number: int) -> bool:
    detail = report.progress.detail
    return report.age_s < FRESH_REPORT_S and detail.get("generation") == number and detail.get("shards", 0) > 0


class FoldHere:
    """Fills a generation in this process, for small logs and for projections outside the catalogue."""

    def __init__(self, projection: Projection[Any], log: EventLog, decode: Decode, retry: RetryPolicy) -> None:
        self._projection = projection
        self._log = log
        self._decode = decode
        self._retry = retry

    def fill(self, sink: Sink, shards: Sequence[int], targets: Mapping[int, int], on_tick: OnTick) -> None:
        """Bring ``shards`` to their targets. Raises LogHasGaps."""
        catch_up = CatchUp(self._projection, self._log, sink, self._decode, shards)

        def attempt() -> None:
            catch_up.open(targets)
            while catch_up.step():
                on_tick()

        self._retry.call(attempt)


class FoldInProcesses:
    """Fills a generation by ``workers`` processes of this program, each with shards of its own.

    ``export``: the folder with the beginning of the log, as for ``rebuild_log``.
    """

    def __init__(
        self, settings: Settings, projection: Projection[Any], workers: int, export: Path | None = None
    ) -> None:
        self._settings = settings
        self._export = export
        self._name = projection.name
        self._workers = workers

    def fill(self, generation: int, targets: Mapping[int, int], on_tick: OnTick) -> None:
        """Bring all shards to their targets. Raises WorkerFailed, LogHasGaps."""
        parts = [
            (
                *(self._settings, self._name, generation),
                *(list(range(number, SHARDS, self._workers)), dict(targets), self._export),
            )
            for number in range(self._workers)
        ]
        run_in_processes("rebuild", _fill_part, parts, on_tick)


def _fill_part(
    heartbeat: OnTick,
    settings: Settings,
    name: str,
    generation: int,
    shards: list[int],
    targets: dict[int, int],
    export: Path | None,
) -> None:
    projection = projection_named(name)
    with open_backends(settings, FOLD_SETTINGS) as backends:
        log = rebuild_log(backends.log, export)
        here = FoldHere(projection, log, backends.decode, RetryPolicy(lambda reason: None))
        here.fill(backends.stores.sink(projection, generation), shards, targets, heartbeat)


MIN_EVENTS_FOR_PROCESSES = 50_000
"""With fewer events, starting processes costs more than they save."""
PROGRESS_INTERVAL_S = 0.2

OnProgress = Callable[[int, int], None]
"""Called with (events folded, events to fold) while a generation fills."""
FillElsewhere = Callable[[int, Mapping[int, int], OnTick], None]
"""Called with the generation, the target of each shard and what to call meanwhile; returns once all are reached."""


@contextmanager
def rebuilding(
    settings: Settings,
    projection: Projection[Any],
    *,
    workers: int,
    on_progress: OnProgress,
    on_note: Callable[[str], None],
    fill_elsewhere: FillElsewhere | None = None,
    export: Path | None = None,
    check_writer: Callable[[Connection], None] = lambda connection: None,
    min_events: int = MIN_EVENTS_FOR_PROCESSES,
) -> Iterator[Rebuild]:
    """Open a Rebuild with its ports. ``on_note`` gets lines for people. Raises UserError if another rebuild runs.

    ``fill_elsewhere`` fills the new generation on other machines; without it this machine does, by ``workers``.
    ``export``: a folder with the beginning of the log as files, from which the new generation is filled.
    ``check_writer`` is that of ``PostgresGenerations``. Up to ``min_events`` events there is one process.
    """
    retry = RetryPolicy(on_note)
    # A server may still be starting: this step waits for it, like every later one.
    retry.call(lambda: _check_reachable(settings))
    with open_backends(settings, FOLD_SETTINGS) as backends, rebuild_lock(backends.engine, projection.name):
        # An export that does not fit is reported before anything is filled.
        log = retry.call(lambda: rebuild_log(backends.log, export))
        context = _FillContext(
            backends, projection, workers, retry, on_progress, on_note, log, min_events, fill_elsewhere, export
        )

        def fill(generation: Generation, targets: Mapping[int, int]) -> None:
            _fill(context, generation, targets)

        yield Rebuild(
            projection,
            RebuildPorts(
                PostgresGenerations(backends.engine, check_writer),
                backends.log,
                lambda number: backends.stores.sink(projection, number),
                backends.decode,
                fill,
                lambda generation: wait_until_followed(backends.engine, generation),
                retry,
                on_note,
                ender_of_other_fills(settings, projection.name, on_note),
            ),
        )


def _check_reachable(settings: Settings) -> None:
    with open_backends(settings, FOLD_SETTINGS):
        pass


class _FillContext(NamedTuple):
    """What filling needs, whatever generation is filled."""

    backends: Backends
    projection: Projection[Any]
    workers: int
    retry: RetryPolicy
    on_progress: OnProgress
    on_note: Callable[[str], None]
    log: EventLog
    min_events: int
    fill_elsewhere: FillElsewhere | None = None
    export: Path | None = None


def _fill(context: _FillContext, generation: Generation, targets: Mapping[int, int]) -> None:
    backends, projection = context.backends, context.projection
    sink = backends.stores.sink(projection, generation.number)
    head = context.retry.call(lambda: backends.log.head(projection.stream))
    wanted = {shard: min(targets.get(shard, head.seqs[shard]), head.seqs[shard]) for shard in range(SHARDS)}
    shown_at, started = 0.0, time.monotonic()

    def on_tick() -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at < PROGRESS_INTERVAL_S:
            return
        shown_at = time.monotonic()
        try:
            fences = sink.fences(list(wanted))
        except (PortUnavailable, SinkRejected):
            return  # shown again when the server is back; the workers themselves retry
        context.on_progress(
            sum(min(f.seq, wanted[s]) for s, f in enumerate(fences) if f is not None), sum(wanted.values())
        )

    if context.fill_elsewhere is not None:
        context.fill_elsewhere(generation.number, wanted, on_tick)
    elif context.workers > 1 and sum(wanted.values()) > context.min_events:
        by_processes = FoldInProcesses(backends.settings, projection, context.workers, context.export)
        by_processes.fill(generation.number, wanted, on_tick)
    else:
        FoldHere(projection, context.log, backends.decode, context.retry).fill(sink, list(wanted), wanted, on_tick)
    shown_at = 0.0
    on_tick()
    seconds, events = time.monotonic() - started, sum(wanted.values())
    context.on_note(f"filled {events:,} events in {seconds:.1f} s ({events / max(seconds, 1e-3):,.0f} a second)")
