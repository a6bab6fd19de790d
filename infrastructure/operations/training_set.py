"""Makes a training set of ETAs: passes over the log, each by parts in parallel processes, then files and a manifest.

Rule: orders by shard, riders by shard, rows by range of the clock, files by shard. Answers on record: rows by batch,
their orders by shard, files by shard. After an abort, the same request keeps the finished parts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from domain.identifiers import SHARDS
from infrastructure.backends import open_backends
from infrastructure.errors import UserError
from infrastructure.operations.training_set_elsewhere import run_elsewhere
from infrastructure.operations.training_set_passes import (
    CLOCK,
    SERVED_IDS,
    Job,
    Team,
    passes_of,
    read_part,
    run_passes,
)
from infrastructure.operations.training_set_request import code_digests, set_identity
from infrastructure.operations.verify_eta import ModelOf
from infrastructure.postgres.served_etas import PostgresServedEtas
from infrastructure.process_pool import run_in_processes
from infrastructure.replay.all_keys import MIN_EVENTS_FOR_PROCESSES, delete_foreign_parts, parts_of
from infrastructure.replay.parts_elsewhere import PartsElsewhere, write_work
from infrastructure.replay.request import encode
from infrastructure.replay.whole_files import give_name, sync, write_export, write_whole
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_files import RowsFiles, RowsPart
from infrastructure.training_sets.eta_request import INSTANTS, MAX_LIFE_MS, SERVED, EtaRequest
from infrastructure.training_sets.eta_set import FORMAT, MANIFEST, EtaManifest, RowsFile
from infrastructure.training_sets.instants_file import write_instants
from infrastructure.training_sets.log_clock import write_log_clock
from infrastructure.training_sets.manifest import numeric_fingerprint
from infrastructure.training_sets.order_shards import OrderFiles, OrderPart
from infrastructure.training_sets.rider_shards import RiderFiles, RiderPart
from infrastructure.training_sets.row_chunks import ChunkFiles, ChunkPart

OnProgress = Callable[[str, str, int, int], None]
"""Called at intervals with the name of the pass, what it counts, how many are done, and how many there are."""


class Made(NamedTuple):
    """The manifest of a set that was made, and descriptions of served answers that the log does not give."""

    manifest: EtaManifest
    examples: list[str]


def make_eta_set(
    settings: Settings,
    request: EtaRequest,
    out: Path,
    workers: int,
    on_progress: OnProgress,
    *,
    instants: Path | None = None,
    min_events: int = MIN_EVENTS_FOR_PROCESSES,
    model_of: ModelOf | None = None,
    elsewhere: PartsElsewhere | None = None,
) -> Made:
    """Write the folder ``out``, which is empty or missing. ``instants``: the file of a rule of that kind.

    ``model_of`` finds the models that answers on record name; None: those of this code and of the registry. With fewer
    than ``min_events`` events there is one process. ``elsewhere`` makes the parts on other machines, with the models of
    their code and of the registry; this one then writes the files.

    Raises UserError, Unresolvable, PortUnavailable, RegistryUnavailable, WorkerFailed.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: name a new folder, or delete this one")
    with parts_of(out) as folder:
        if elsewhere is not None:
            elsewhere.claim(folder)
        with open_backends(settings) as backends:
            delete_foreign_parts(folder, set_identity(backends, request))
        job = Job(settings, request, folder, model_of)
        _prepare(job, instants)
        _run(job, workers if request.position > min_events else 0, on_progress, elsewhere)
        made = _made(job)
        _give_name([RowsFiles(folder, shard).rows for shard in range(SHARDS)], made.manifest, out)
        return made


def _prepare(job: Job, instants: Path | None) -> None:
    """Write what the passes read besides the log."""
    folder, request = job.folder, job.request
    if request.rule.kind == SERVED:
        if not (folder / SERVED_IDS).exists():
            with open_backends(job.settings) as backends:
                ids = PostgresServedEtas(backends.engine).ids(request.rule.since_ms, request.rule.last_served_id)
            write_whole(folder / SERVED_IDS, array("q", ids).tobytes())
        return
    if request.axis != "event" and not (folder / CLOCK).exists():
        with open_backends(job.settings) as backends:
            write_log_clock(backends.engine, request.position, folder / CLOCK)
    if request.rule.kind == INSTANTS:
        if instants is None:
            raise UserError("the set was made from a file of orders and instants: name it with --instants")
        write_instants(instants, request.rule.instants_sha256, [OrderFiles(folder, n) for n in range(SHARDS)])


def _run(job: Job, workers: int, on_progress: OnProgress, elsewhere: PartsElsewhere | None) -> None:
    """Run the passes in so many processes, whose garbage collector is tuned; 0: in this one, which starts sooner."""
    passes = passes_of(job.request)
    team = Team(1 if elsewhere is not None else max(1, workers), len(passes))

    def show() -> None:
        number, done, total = team.progress()
        on_progress(passes[number].name, passes[number].what, done, total)

    if elsewhere is not None:
        write_work(job.folder, job.request)
        run_passes(show, job, 0, team, run_elsewhere(elsewhere))
    elif workers:
        run_in_processes("training-set", run_passes, [(job, number, team) for number in range(workers)], show)
    else:
        run_passes(show, job, 0, team)


def _made(job: Job) -> Made:
    """Everything that the parts say."""
    folder, request = job.folder, job.request
    orders = [read_part(OrderFiles(folder, n).part, OrderPart) for n in range(SHARDS)]
    riders: list[RiderPart] = []
    if request.rule.kind != SERVED:
        riders = [read_part(RiderFiles(folder, n).part, RiderPart) for n in range(SHARDS)]
    chunks = [read_part(ChunkFiles(folder, n).part, ChunkPart) for n in range(job.chunks)]
    parts = [read_part(RowsFiles(folder, n).part, RowsPart) for n in range(SHARDS)]
    files = [RowsFile(part.name, part.rows, part.digest, part.sha256) for part in parts if part.rows]
    skipped = sum((Counter(msgspec.to_builtins(part.skipped)) for part in orders), Counter[str]())
    undecided = sum((Counter(chunk.undecided) for chunk in chunks), Counter[str]())
    manifest = EtaManifest(
        FORMAT,
        request.log_id,
        1,
        request.position,
        request.axis,
        request.rule,
        sorted({schema_id for part in (*orders, *riders) for schema_id in part.schema_ids}),
        code_digests(),
        {"max_life_ms": MAX_LIFE_MS},
        numeric_fingerprint(),
        sum(part.events for part in (*orders, *riders)),
        sum(part.rows for part in parts),
        sum(part.censored for part in parts),
        sum(part.orders for part in parts),
        sum(chunk.different for chunk in chunks),
        dict(sorted(undecided.items())),
        dict(sorted(skipped.items())),
        files,
        hashlib.sha256("".join(f"{one.name} {one.digest}\n" for one in files).encode()).hexdigest(),
        f"pyarrow {pa.__version__}",
    )
    return Made(manifest, [example for chunk in chunks for example in chunk.examples])


def _give_name(rows: Sequence[Path], made: EtaManifest, out: Path) -> None:
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for path in rows:
        if path.exists():
            os.link(path, unfinished / path.name)
            sync(path)
    write_export(unfinished / MANIFEST, encode(msgspec.to_builtins(made)))
    give_name(unfinished, out)
