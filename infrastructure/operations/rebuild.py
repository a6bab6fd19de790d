"""Runs a rebuild on real servers: ``projections.rebuild.rebuild`` with processes, progress and a lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from domain.identifiers import SHARDS
from infrastructure.backends import FOLD_SETTINGS, Backends, open_backends, projection_named
from infrastructure.errors import UserError
from infrastructure.observability.stage_reports import StageReport, read_stages
from infrastructure.observability.watchdog import STUCK_AFTER_S
from infrastructure.postgres.advisory_locks import try_session_lock
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.process_pool import Look, in_processes
from infrastructure.settings.settings import Settings
from projections.core.fold import Decode
from projections.core.ports import EventLog, PortUnavailable, Sink, SinkRejected
from projections.core.projection import Projection
from projections.core.retry import RetryPolicy
from projections.rebuild.catch_up import CatchUp
from projections.rebuild.generations import Generation
from projections.rebuild.rebuild import Rebuild, RebuildPorts


@contextmanager
def rebuild_lock(engine: Engine, projection: str) -> Iterator[None]:
    """Held by the session, so that a killed rebuild frees it. Raises UserError if another one runs.

    A restart of Postgres frees it too. Two rebuilds at once cost work and nothing else: every write is a
    compare-and-set.
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
            # With the connection goes the lock, also when the server has gone first.
            connection.invalidate()


LOCK_WAIT_S = 60.0
FOLLOW_POLL_INTERVAL_S = 0.3
FRESH_S = 5.0
"""A worker that follows reports every second: an older report does not show that it still does."""
ENDED_AFTER_S = STUCK_AFTER_S + 10.0
"""One in trouble reports only after each attempt, which may take long and begins up to 5 s after the one before; of one
that hangs its process tells after STUCK_AFTER_S. Only who is silent for longer serves no more."""


def wait_until_followed(engine: Engine, generation: Generation) -> None:
    """Return once a running service keeps ``generation`` up to date, at once if no service runs.

    Else readers would be switched to a generation that stands still. Raises UserError if that service
    has other code, or does not do so within a minute; PortUnavailable. Of a service on another machine that has just
    ended only its silence tells, after ENDED_AFTER_S.
    """
    deadline = time.monotonic() + LOCK_WAIT_S
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
    of_it = [r for r in reports if r.stage.partition("@")[0] == projection]
    return [r for r in of_it if r.alive and r.age_s < ENDED_AFTER_S]


def _follows(report: StageReport, number: int) -> bool:
    detail = report.progress.detail
    return report.age_s < FRESH_S and detail.get("generation") == number and detail.get("shards", 0) > 0


class FoldHere:
    """Fills in this process, for small logs and for projections that the catalogue has not."""

    def __init__(self, projection: Projection[Any], log: EventLog, decode: Decode, patience: RetryPolicy) -> None:
        self._projection = projection
        self._log = log
        self._decode = decode
        self._patience = patience

    def fill(self, sink: Sink, shards: Sequence[int], targets: Mapping[int, int], look: Look) -> None:
        """Bring ``shards`` to their targets."""
        filler = CatchUp(self._projection, self._log, sink, self._decode, shards)

        def attempt() -> None:
            filler.open(targets)
            while filler.step():
                look()

        self._patience.call(attempt)


class FoldInProcesses:
    """Fills by ``workers`` processes of this program, each with shards of its own."""

    def __init__(self, settings: Settings, projection: Projection[Any], workers: int) -> None:
        self._settings = settings
        self._name = projection.name
        self._workers = workers

    def fill(self, generation: int, targets: Mapping[int, int], look: Look) -> None:
        """Bring all shards to their targets. Raises WorkerFailed."""
        parts = [
            (self._settings, self._name, generation, list(range(number, SHARDS, self._workers)), dict(targets))
            for number in range(self._workers)
        ]
        in_processes("rebuild", _work, parts, look)


def _work(
    alive: Callable[[], None],
    settings: Settings,
    name: str,
    generation: int,
    shards: list[int],
    targets: dict[int, int],
) -> None:
    projection = projection_named(name)
    with open_backends(settings, FOLD_SETTINGS) as backends:
        here = FoldHere(projection, backends.log, backends.decode, RetryPolicy(lambda words: None))
        here.fill(backends.stores.sink(projection, generation), shards, targets, alive)


MIN_EVENTS_FOR_PROCESSES = 50_000
"""Below so many events, starting processes costs more than they save."""

Show = Callable[[int, int], None]
"""Called with (events folded, events to fold) while a generation fills."""


@contextmanager
def rebuilding(
    settings: Settings, projection: Projection[Any], *, workers: int, show: Show, tell: Callable[[str], None]
) -> Iterator[Rebuild]:
    """A Rebuild with everything it needs. Raises UserError if another one runs."""
    patience = RetryPolicy(tell)
    # A server may be starting at this very moment: from here on every step waits for it, so this one does too.
    patience.call(lambda: _reach(settings))
    with open_backends(settings, FOLD_SETTINGS) as backends, rebuild_lock(backends.engine, projection.name):

        def fill(generation: Generation, targets: Mapping[int, int]) -> None:
            _fill(settings, backends, projection, generation, targets, workers, show, patience, tell)

        yield Rebuild(
            projection,
            RebuildPorts(
                backends.generations,
                backends.log,
                lambda number: backends.stores.sink(projection, number),
                backends.decode,
                fill,
                lambda generation: wait_until_followed(backends.engine, generation),
                patience,
                tell,
            ),
        )


def _reach(settings: Settings) -> None:
    with open_backends(settings, FOLD_SETTINGS):
        pass


def _fill(
    settings: Settings,
    backends: Backends,
    projection: Projection[Any],
    generation: Generation,
    targets: Mapping[int, int],
    workers: int,
    show: Show,
    patience: RetryPolicy,
    tell: Callable[[str], None],
) -> None:
    sink = backends.stores.sink(projection, generation.number)
    head = patience.call(lambda: backends.log.head(projection.stream))
    wanted = {shard: min(targets.get(shard, head.seqs[shard]), head.seqs[shard]) for shard in range(SHARDS)}
    told_at, began = 0.0, time.monotonic()

    def look() -> None:
        nonlocal told_at
        if time.monotonic() - told_at < 0.2:
            return
        told_at = time.monotonic()
        try:
            fences = sink.fences(list(wanted))
        except (PortUnavailable, SinkRejected):
            return  # shown again when the server is back; the workers wait for it themselves
        show(sum(min(f.seq, wanted[s]) for s, f in enumerate(fences) if f is not None), sum(wanted.values()))

    if workers > 1 and sum(wanted.values()) > MIN_EVENTS_FOR_PROCESSES:
        FoldInProcesses(settings, projection, workers).fill(generation.number, wanted, look)
    else:
        FoldHere(projection, backends.log, backends.decode, patience).fill(sink, list(wanted), wanted, look)
    told_at = 0.0
    look()
    seconds, events = time.monotonic() - began, sum(wanted.values())
    tell(f"filled {events:,} events in {seconds:.1f} s ({events / max(seconds, 1e-3):,.0f} a second)")
