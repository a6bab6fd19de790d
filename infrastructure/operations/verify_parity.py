"""The whole check: here for a few reads, else by processes, each with keys of its own."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from infrastructure.backends import Backends, open_backends, projection_named
from infrastructure.postgres.served_reads import PostgresServedReads
from infrastructure.process_pool import WorkerFailed, tune_gc
from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
from projections.parity.audit import Audit, AuditFindings


class ParityEvidence(NamedTuple):
    """The reads on record and the audit of them."""

    reads: PostgresServedReads
    audit: Audit[Any]


def parity_evidence(backends: Backends, projection: Projection[Any], part: int = 0, parts: int = 1) -> ParityEvidence:
    """The evidence on the keys of one part. Raises PortUnavailable, RegistryUnavailable."""
    reads = PostgresServedReads(backends.engine, projection.name, part, parts)
    snapshots = backends.snapshots(projection)
    return ParityEvidence(reads, Audit(projection, backends.archive, snapshots, backends.decode, reads))


@contextmanager
def open_parity_evidence(
    settings: Settings, projection: Projection[Any], part: int = 0, parts: int = 1
) -> Iterator[ParityEvidence]:
    """Raises UserError if the database is at another revision; PortUnavailable, RegistryUnavailable."""
    with open_backends(settings) as backends:
        yield parity_evidence(backends, projection, part, parts)


MIN_READS_FOR_PROCESSES = 50_000
"""Below so many reads, starting processes costs more than they save."""

Show = Callable[[int], None]
"""Called now and then with the number of reads checked."""


def verify(
    settings: Settings,
    projection: Projection[Any],
    here: ParityEvidence,
    since_ms: int,
    reads: int,
    workers: int,
    show: Show,
) -> AuditFindings:
    """Check all ``reads`` since then. Raises WorkerFailed, PortUnavailable."""
    if workers == 1 or reads <= MIN_READS_FOR_PROCESSES:
        tune_gc()
        return here.audit.run(here.reads.scan(since_ms), on_progress=lambda found: show(found.reads))
    context = multiprocessing.get_context("spawn")
    running: list[tuple[BaseProcess, Connection]] = []
    try:
        for part in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (theirs, os.getpid(), settings, projection.name, since_ms, part, workers)
            process: BaseProcess = context.Process(target=_work, args=arguments, name=f"parity-{part}", daemon=True)
            process.start()
            theirs.close()
            running.append((process, ours))
        return _gather(running, show)
    finally:
        for process, pipe in running:
            process.kill()
            process.join()
            pipe.close()


def _gather(running: list[tuple[BaseProcess, Connection]], show: Show) -> AuditFindings:
    names = {pipe: process.name for process, pipe in running}
    latest: dict[Connection, AuditFindings] = {}
    open_pipes = set(names)
    while open_pipes:
        for pipe in multiprocessing.connection.wait(list(open_pipes)):
            assert isinstance(pipe, Connection)
            try:
                said = pipe.recv()
            except EOFError:
                raise WorkerFailed(f"{names[pipe]} ended before its reads were checked; run it again") from None
            if isinstance(said, str):
                raise WorkerFailed(f"{names[pipe]}: {said}")
            latest[pipe], ended = said
            if ended:
                open_pipes.discard(pipe)
        show(sum(found.reads for found in latest.values()))
    whole = AuditFindings()
    for found in latest.values():
        whole.add(found)
    return whole


def _work(pipe: Connection, parent: int, settings: Settings, name: str, since_ms: int, part: int, parts: int) -> None:
    """In the worker's process."""
    tune_gc()
    told = 0

    def look(found: AuditFindings) -> None:
        nonlocal told
        if os.getppid() != parent:
            os._exit(3)
        if found.reads - told >= 5_000:
            told = found.reads
            pipe.send((found, False))

    try:
        with open_parity_evidence(settings, projection_named(name), part, parts) as mine:
            pipe.send((mine.audit.run(mine.reads.scan(since_ms), on_progress=look), True))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error
