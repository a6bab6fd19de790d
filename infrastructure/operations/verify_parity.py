"""Audits all served reads: a few in this process, many in parallel processes, each with its own share of the keys.

Needs Postgres, and the schema registry if it is an external one; no other server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from infrastructure.backends import Backends, open_backends, projection_named
from infrastructure.postgres.served_reads import PostgresServedReads
from infrastructure.process_pool import WorkerHeartbeat, run_in_processes, tune_gc
from infrastructure.settings.settings import Settings
from projections.core.projection import Projection
from projections.parity.audit import Audit, AuditFindings


class ParityEvidence(NamedTuple):
    """The recorded reads of a projection and their audit."""

    projection: str
    reads: PostgresServedReads
    audit: Audit[Any]


def parity_evidence(backends: Backends, projection: Projection[Any], part: int = 0, parts: int = 1) -> ParityEvidence:
    """The evidence on the keys of one part. Raises PortUnavailable, RegistryUnavailable."""
    reads = PostgresServedReads(backends.engine, projection.name, part, parts)
    snapshots = backends.snapshots(projection)
    return ParityEvidence(projection.name, reads, Audit(backends.replay_source(projection), snapshots, reads))


@contextmanager
def open_parity_evidence(
    settings: Settings, projection: Projection[Any], part: int = 0, parts: int = 1
) -> Iterator[ParityEvidence]:
    """Raises UserError if the database is at another revision; PortUnavailable, RegistryUnavailable."""
    with open_backends(settings) as backends:
        yield parity_evidence(backends, projection, part, parts)


MIN_READS_FOR_PROCESSES = 50_000
"""With fewer reads, starting processes costs more than they save."""

MESSAGE_INTERVAL_READS = 5_000
"""A worker sends its findings after so many reads."""

OnProgress = Callable[[int], None]
"""Called at intervals with the number of reads audited."""


def verify(
    settings: Settings,
    here: ParityEvidence,
    since_ms: int,
    reads: int,
    workers: int,
    on_progress: OnProgress,
) -> AuditFindings:
    """Audit all ``reads`` since then. Raises WorkerFailed, PortUnavailable."""
    if workers == 1 or reads <= MIN_READS_FOR_PROCESSES:
        tune_gc()
        return here.audit.run(here.reads.scan(since_ms), on_progress=lambda found: on_progress(found.reads))
    latest: dict[int, AuditFindings] = {}
    parts = [(settings, here.projection, since_ms, part, workers) for part in range(workers)]
    run_in_processes(
        "parity",
        _audit_part,
        parts,
        on_tick=lambda: on_progress(sum(found.reads for found in latest.values())),
        on_message=latest.__setitem__,
    )
    total = AuditFindings()
    for found in latest.values():
        total.add(found)
    on_progress(total.reads)
    return total


def _audit_part(
    heartbeat: WorkerHeartbeat, settings: Settings, name: str, since_ms: int, part: int, parts: int
) -> None:
    """Audit one part in a worker process. Each message has all findings so far; the last one is complete."""
    sent_reads = 0

    def on_progress(found: AuditFindings) -> None:
        nonlocal sent_reads
        heartbeat()
        if found.reads - sent_reads >= MESSAGE_INTERVAL_READS:
            sent_reads = found.reads
            heartbeat(found)

    with open_parity_evidence(settings, projection_named(name), part, parts) as evidence:
        heartbeat(evidence.audit.run(evidence.reads.scan(since_ms), on_progress=on_progress))
