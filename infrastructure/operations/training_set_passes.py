"""The passes of a training set, as a team of workers runs them: each pass starts when the last one is done."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.identifiers import SHARDS
from infrastructure.backends import Backends
from infrastructure.operations.served_rows import BATCH_ETAS, ServedPass, served_orders
from infrastructure.operations.verify_eta import ModelOf, models_of
from infrastructure.process_pool import CONTEXT
from infrastructure.replay.parts_elsewhere import share_of
from infrastructure.replay.whole_files import write_whole
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_files import RowsFiles, make_rows_part
from infrastructure.training_sets.eta_request import INSTANTS, SERVED, EtaRequest
from infrastructure.training_sets.log_clock import LogClock
from infrastructure.training_sets.order_shards import (
    NO_RIDER,
    Instants,
    OrderFiles,
    OrderPart,
    make_order_part,
    named_instants,
    order_source,
)
from infrastructure.training_sets.rider_shards import RiderFiles, RiderPass
from infrastructure.training_sets.row_chunks import CHUNK_ROWS, ChunkFiles, ChunkPart, RowPass
from infrastructure.training_sets.spool import SpoolReader

SERVED_IDS = "served-ids.bin"
"""The ids of the answers on record, 8 bytes each, by city snapshot."""
CLOCK = "clock.bin"
BOUNDS = "bounds.bin"
"""The first clock of each chunk but the first, 8 bytes each."""
MEETING_INTERVAL_S = 0.2
MIN_CHUNKS = 32
"""Workers share out chunks: of three chunks, one of two workers would have two."""
MIN_CHUNK_ROWS = 500

OnDone = Callable[[int], None]


class Job(NamedTuple):
    """What every worker gets. ``model_of`` finds the models that answers on record name.

    It is sent to processes, so ``model_of`` is a function of a module; None: the models of this code and the registry.
    """

    settings: Settings
    request: EtaRequest
    folder: Path
    model_of: ModelOf | None = None

    @property
    def bounds(self) -> list[int]:
        """The first clock of each chunk but the first. Needs the file of the bounds."""
        return list(array("q", (self.folder / BOUNDS).read_bytes()))

    @property
    def chunks(self) -> int:
        """How many chunks of rows there are. Needs the file of the bounds, or that of the answers."""
        if self.request.rule.kind == SERVED:
            return -(-len(self.served_ids) // BATCH_ETAS)
        return len(self.bounds) + 1

    @property
    def served_ids(self) -> array[int]:
        return array("q", (self.folder / SERVED_IDS).read_bytes())


class Pass(NamedTuple):
    """One pass: its name and what it counts. ``work`` makes some of ``parts``; each is made when its sidecar exists.

    ``prepare`` is run by one worker before the others begin. ``in_order``: a worker gets a range of the parts.
    ``counted``: the field of a part's result that says how much was done. ``here_alone``: its bytes depend on the
    version of a library, so that the machine of the manifest makes them.
    """

    name: str
    what: str
    total: Callable[[Job], int]
    parts: Callable[[Job], Sequence[int]]
    sidecar: Callable[[Path, int], Path]
    work: Callable[[Job, Sequence[int], OnDone], None]
    prepare: Callable[[Job], None] = lambda job: None
    in_order: bool = False
    counted: str = "events"
    here_alone: bool = False


RunShare = Callable[[int, Pass, Job, Sequence[int], OnDone], None]
"""Makes the parts of a share of a pass with this number."""


def passes_of(request: EtaRequest) -> list[Pass]:
    """The passes in order."""
    files = Pass("files", "rows", _rows, _shards, _rows_part, _make_files, here_alone=True)
    if request.rule.kind == SERVED:
        return [
            Pass("answers", "answers", _answers, _chunks, _chunk_part, _make_answers, in_order=True, counted="rows"),
            Pass("orders", "events", lambda job: 0, _shards, _order_part, _make_orders),
            files,
        ]
    return [
        Pass("orders", "events", lambda job: job.request.position, _shards, _order_part, _make_orders),
        Pass("riders", "events", _rider_events, _rider_shards, _rider_part, _make_riders, _write_bounds),
        Pass("rows", "rows", _seeds, _chunks, _chunk_part, _make_rows, in_order=True, counted="rows"),
        files,
    ]


class Team:
    """What the workers and the command share: a place to meet, and how much of each pass is done."""

    def __init__(self, size: int, passes: int) -> None:
        self.size = size
        self._met = CONTEXT.Condition()
        self._arrived = CONTEXT.Value("q", 0)
        self._now = CONTEXT.Value("q", 0)
        self._done = CONTEXT.Array("q", passes)
        self._totals = CONTEXT.Array("q", passes)

    def meet(self, heartbeat: Callable[[], None]) -> None:
        """Wait until every worker is here. The heartbeat ends a worker whose command has ended."""
        with self._met:
            self._arrived.value += 1
            all_here = -(-self._arrived.value // self.size) * self.size
            self._met.notify_all()
            while self._arrived.value < all_here:
                self._met.wait(MEETING_INTERVAL_S)
                heartbeat()

    def begin(self, number: int, total: int) -> None:
        """Begin a pass. ``total``: what there is to do."""
        self._totals[number] = total
        self._now.value = number

    def add(self, number: int, count: int) -> None:
        with self._done.get_lock():
            self._done[number] += count

    def progress(self) -> tuple[int, int, int]:
        """The number of the pass, what is done of it, and its total."""
        number = self._now.value
        return number, self._done[number], self._totals[number]


def run_here(_number: int, of: Pass, job: Job, share: Sequence[int], on_done: OnDone) -> None:
    """Make the parts in this process."""
    of.work(job, share, on_done)


def run_passes(
    heartbeat: Callable[[], None], job: Job, number: int, team: Team, run_share: RunShare = run_here
) -> None:
    """Run the share of one worker of every pass, by ``run_share``. Worker 0 prepares each."""
    for n, of in enumerate(passes_of(job.request)):

        def on_done(count: int, n: int = n) -> None:
            team.add(n, count)
            heartbeat()

        if number == 0:
            of.prepare(job)
            team.begin(n, of.total(job))
        team.meet(heartbeat)
        missing = [part for part in of.parts(job) if not of.sidecar(job.folder, part).exists()]
        team.meet(heartbeat)  # before any of them is made: every worker shares out the same parts
        share = share_of(missing, number, team.size, in_order=of.in_order)
        if share:
            run_share(n, of, job, share, on_done)
        team.meet(heartbeat)


def read_part(path: Path, kind: type[Any]) -> Any:
    """The result of a part. Raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=kind)


def _shards(_job: Job) -> Sequence[int]:
    return range(SHARDS)


def _rider_shards(_job: Job) -> Sequence[int]:
    return range(NO_RIDER + 1)


def _chunks(job: Job) -> Sequence[int]:
    return range(job.chunks)


def _order_part(folder: Path, shard: int) -> Path:
    return OrderFiles(folder, shard).part


def _rider_part(folder: Path, shard: int) -> Path:
    return RiderFiles(folder, shard).part


def _chunk_part(folder: Path, chunk: int) -> Path:
    return ChunkFiles(folder, chunk).part


def _rows_part(folder: Path, shard: int) -> Path:
    return RowsFiles(folder, shard).part


def _answers(job: Job) -> int:
    return len(job.served_ids)


def _seeds(job: Job) -> int:
    return sum(read_part(_order_part(job.folder, shard), OrderPart).seeds for shard in range(SHARDS))


def _rider_events(job: Job) -> int:
    of_orders = sum(read_part(_order_part(job.folder, shard), OrderPart).events for shard in range(SHARDS))
    return job.request.position - int(of_orders)


def _rows(job: Job) -> int:
    return sum(read_part(_chunk_part(job.folder, chunk), ChunkPart).rows for chunk in _chunks(job))


def _write_bounds(job: Job) -> None:
    """Chunks of about CHUNK_ROWS rows, and at least MIN_CHUNKS if there are enough rows; equal clocks stay together."""
    clocks = array("q")
    for shard in range(SHARDS):
        reader = SpoolReader(OrderFiles(job.folder, shard).seeds)
        for group in reader.groups():
            clocks.extend(seed[1] for seed in reader.read(group))
    ordered = sorted(clocks)
    first = ordered[0] if ordered else 0
    rows = min(CHUNK_ROWS, max(MIN_CHUNK_ROWS, -(-len(ordered) // MIN_CHUNKS)))
    bounds = sorted({ordered[n] for n in range(rows, len(ordered), rows)} - {first})
    write_whole(job.folder / BOUNDS, array("q", bounds).tobytes())


def _make_orders(job: Job, shards: Sequence[int], on_done: OnDone) -> None:
    request = job.request
    clock = LogClock(job.folder / CLOCK) if (job.folder / CLOCK).exists() else None
    with Backends(job.settings) as backends:
        source = order_source(backends)
        for shard in shards:
            files = OrderFiles(job.folder, shard)
            named: dict[str, list[int]] = {}
            if request.rule.kind == SERVED:
                named = served_orders(job.folder, shard, _chunks(job))
            elif request.rule.kind == INSTANTS:
                named = named_instants(files.instants)
            make_order_part(source, request, files, Instants(request, clock, named), on_done)


def _make_riders(job: Job, shards: Sequence[int], on_done: OnDone) -> None:
    with Backends(job.settings) as backends:
        riders = RiderPass(backends, job.request, job.folder, job.bounds, on_done)
        for shard in shards:
            riders.make(shard)


def _make_rows(job: Job, chunks: Sequence[int], on_done: OnDone) -> None:
    rows = RowPass(job.folder, on_done)
    for chunk in chunks:
        rows.make(chunk)


def _make_answers(job: Job, chunks: Sequence[int], on_done: OnDone) -> None:
    ids = job.served_ids
    with Backends(job.settings) as backends:
        answers = ServedPass(backends, job.folder, job.model_of or models_of(backends), on_done)
        for chunk in chunks:
            answers.make(chunk, ids[chunk * BATCH_ETAS : (chunk + 1) * BATCH_ETAS])


def _make_files(job: Job, shards: Sequence[int], on_done: OnDone) -> None:
    chunks = [SpoolReader(ChunkFiles(job.folder, chunk).rows) for chunk in _chunks(job)]
    for shard in shards:
        on_done(make_rows_part(job.folder, shard, chunks))
