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
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from domain.features.eta.packaged import model_of
from domain.identifiers import SHARDS
from infrastructure.backends import open_backends
from infrastructure.errors import UserError
from infrastructure.operations.served_rows import BATCH_ETAS
from infrastructure.operations.training_set_passes import (
    CLOCK,
    SERVED_IDS,
    Job,
    make_answers,
    make_files,
    make_orders,
    make_riders,
    make_rows,
)
from infrastructure.operations.training_set_request import code_digests
from infrastructure.operations.verify_eta import ModelOf
from infrastructure.postgres.served_etas import PostgresServedEtas
from infrastructure.process_pool import CONTEXT, run_in_processes
from infrastructure.replay.all_keys import MIN_EVENTS_FOR_PROCESSES, delete_foreign_parts, log_upto, parts_of
from infrastructure.replay.request import encode
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_files import RowsFiles, RowsPart
from infrastructure.training_sets.eta_request import INSTANTS, MAX_LIFE_MS, SERVED, EtaRequest
from infrastructure.training_sets.eta_set import FORMAT, MANIFEST, EtaManifest, RowsFile
from infrastructure.training_sets.instants_file import write_instants
from infrastructure.training_sets.log_clock import write_log_clock
from infrastructure.training_sets.manifest import numeric_fingerprint
from infrastructure.training_sets.order_shards import (
    NO_RIDER,
    OrderFiles,
    OrderPart,
)
from infrastructure.training_sets.rider_shards import RiderFiles, RiderPart
from infrastructure.training_sets.row_chunks import CHUNK_ROWS, ChunkFiles, ChunkPart
from infrastructure.training_sets.spool import SpoolReader
from projections.orders import ORDERS
from projections.speed import SPEED
from projections.traffic import TRAFFIC

OnProgress = Callable[[str, str, int, int], None]
"""Called at intervals with the name of the pass, what it counts, how many are done, and how many there are."""


class Pass(NamedTuple):
    """One pass: its name, what it counts, and how many of that there are. ``in_order``: a worker gets a range."""

    name: str
    what: str
    total: int
    work: Callable[..., None]
    in_order: bool = False


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
    model_of: ModelOf = model_of,
) -> Made:
    """Write the folder ``out``, which is empty or missing. ``instants``: the file of a rule of that kind.

    ``model_of`` finds the models that answers on record name. With fewer than ``min_events`` events there is one
    process. Raises UserError, Unresolvable, PortUnavailable, RegistryUnavailable, WorkerFailed.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: name a new folder, or delete this one")
    with parts_of(out) as folder:
        delete_foreign_parts(folder, _identity(settings, request))
        workers = workers if request.position > min_events else 1
        maker = _Maker(Job(settings, request, folder, model_of=model_of), workers, on_progress)
        if request.rule.kind == SERVED:
            maker.from_answers()
        else:
            maker.from_rule(instants)
        return maker.finish(out)


def _identity(settings: Settings, request: EtaRequest) -> bytes:
    """Everything that parts depend on: parts of another request, code or log must not mix with these."""
    document: dict[str, Any] = {"request": request, "code": code_digests(), "fingerprint": numeric_fingerprint()}
    for projection in (ORDERS, SPEED, TRAFFIC):
        document[projection.name] = log_upto(settings, projection.name, request.position)
    return encode(msgspec.to_builtins(document))


class _Maker:
    """Runs the passes of one set, and keeps what the manifest needs."""

    def __init__(self, job: Job, workers: int, on_progress: OnProgress) -> None:
        self._job = job
        self._workers = workers
        self._on_progress = on_progress
        self._events = 0
        self._schema_ids: set[int] = set()
        self._skipped: Counter[str] = Counter()

    def from_answers(self) -> None:
        """Rows of the answers on record."""
        job, rule = self._job, self._job.request.rule
        path = job.folder / SERVED_IDS
        if not path.exists():
            with open_backends(job.settings) as backends:
                ids = PostgresServedEtas(backends.engine).ids(rule.since_ms, rule.last_served_id)
            _write_whole(path, array("q", ids).tobytes())
        count = path.stat().st_size // 8
        job = self._job = job._replace(chunks=-(-count // BATCH_ETAS))
        answers = Pass("answers", "answers", count, make_answers, in_order=True)
        self._run(answers, range(job.chunks), lambda chunk: ChunkFiles(job.folder, chunk).part)
        self._run(Pass("orders", "events", 0, make_orders), range(SHARDS), lambda n: OrderFiles(job.folder, n).part)
        self._count_orders()

    def from_rule(self, instants: Path | None) -> None:
        """Rows of the instants that the rule names."""
        job, request = self._job, self._job.request
        if request.axis != "event" and not (job.folder / CLOCK).exists():
            with open_backends(job.settings) as backends:
                write_log_clock(backends.engine, request.position, job.folder / CLOCK)
        if request.rule.kind == INSTANTS:
            assert instants is not None
            write_instants(instants, request.rule.instants_sha256, [OrderFiles(job.folder, n) for n in range(SHARDS)])
        orders = Pass("orders", "events", request.position, make_orders)
        self._run(orders, range(SHARDS), lambda shard: OrderFiles(job.folder, shard).part)
        of_orders, seeds = self._count_orders()
        bounds = _bounds(job.folder, seeds)
        job = self._job = job._replace(bounds=bounds, chunks=len(bounds) + 1)
        riders = Pass("riders", "events", request.position - of_orders, make_riders)
        self._run(riders, range(NO_RIDER + 1), lambda shard: RiderFiles(job.folder, shard).part)
        for shard in range(NO_RIDER):
            rider_part = msgspec.json.decode(RiderFiles(job.folder, shard).part.read_bytes(), type=RiderPart)
            self._events += rider_part.events
            self._schema_ids.update(rider_part.schema_ids)
        rows = Pass("rows", "rows", seeds, make_rows, in_order=True)
        self._run(rows, range(job.chunks), lambda chunk: ChunkFiles(job.folder, chunk).part)

    def finish(self, out: Path) -> Made:
        """Write the files of the shards and the manifest, then give the folder its name."""
        job, request = self._job, self._job.request
        chunks = [
            msgspec.json.decode(ChunkFiles(job.folder, n).part.read_bytes(), type=ChunkPart) for n in range(job.chunks)
        ]
        total = sum(chunk.rows for chunk in chunks)
        self._run(Pass("files", "rows", total, make_files), range(SHARDS), lambda n: RowsFiles(job.folder, n).part)
        parts = [msgspec.json.decode(RowsFiles(job.folder, n).part.read_bytes(), type=RowsPart) for n in range(SHARDS)]
        files = [RowsFile(part.name, part.rows, part.digest, part.sha256) for part in parts if part.rows]
        whole = hashlib.sha256("".join(f"{one.name} {one.digest}\n" for one in files).encode()).hexdigest()
        undecided = sum((Counter(chunk.undecided) for chunk in chunks), Counter[str]())
        made = EtaManifest(
            FORMAT,
            request.log_id,
            1,
            request.position,
            request.axis,
            request.rule,
            sorted(self._schema_ids),
            code_digests(),
            {"max_life_ms": MAX_LIFE_MS},
            numeric_fingerprint(),
            self._events,
            sum(part.rows for part in parts),
            sum(part.censored for part in parts),
            sum(part.orders for part in parts),
            sum(chunk.different for chunk in chunks),
            dict(sorted(undecided.items())),
            dict(sorted(self._skipped.items())),
            files,
            whole,
            f"pyarrow {pa.__version__}",
        )
        _give_name([RowsFiles(job.folder, n).rows for n in range(SHARDS)], made, out)
        return Made(made, [example for chunk in chunks for example in chunk.examples])

    def _count_orders(self) -> tuple[int, int]:
        """Read the parts of the orders. Returns their events and seeds."""
        events = seeds = 0
        for shard in range(SHARDS):
            part = msgspec.json.decode(OrderFiles(self._job.folder, shard).part.read_bytes(), type=OrderPart)
            events, seeds = events + part.events, seeds + part.seeds
            self._schema_ids.update(part.schema_ids)
            self._skipped.update(msgspec.to_builtins(part.skipped))
        self._events += events
        return events, seeds

    def _run(self, of: Pass, parts: Sequence[int], sidecar: Callable[[int], Path]) -> None:
        missing = [part for part in parts if not sidecar(part).exists()]
        if not missing:
            return
        done = CONTEXT.Value("q", 0)
        show = partial(self._on_progress, of.name, of.what)
        workers = min(self._workers, len(missing))
        if workers > 1:
            shares = [(self._job, share, done) for share in _shares(missing, workers, in_order=of.in_order)]
            run_in_processes(f"training-set-{of.name}", of.work, shares, lambda: show(done.value, of.total))
        else:
            of.work(lambda: show(done.value, of.total), self._job, missing, done)
        show(of.total, of.total)


def _shares(parts: Sequence[int], workers: int, *, in_order: bool) -> list[Sequence[int]]:
    if not in_order:
        return [parts[number::workers] for number in range(workers)]
    size = -(-len(parts) // workers)
    return [parts[first : first + size] for first in range(0, len(parts), size)]


def _bounds(folder: Path, seeds: int) -> list[int]:
    """The first clock of each chunk but the first: about CHUNK_ROWS rows each; equal clocks stay together."""
    clocks = array("q")
    for shard in range(SHARDS):
        reader = SpoolReader(OrderFiles(folder, shard).seeds)
        for group in reader.groups():
            clocks.extend(seed[1] for seed in reader.read(group))
    ordered = sorted(clocks)
    return sorted({ordered[n] for n in range(CHUNK_ROWS, seeds, CHUNK_ROWS)} - {ordered[0] if ordered else 0})


def _give_name(rows: Sequence[Path], made: EtaManifest, out: Path) -> None:
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for path in rows:
        if path.exists():
            os.link(path, unfinished / path.name)
    (unfinished / MANIFEST).write_bytes(encode(msgspec.to_builtins(made)))
    unfinished.replace(out)


def _write_whole(path: Path, data: bytes) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(data)
    unfinished.replace(path)
