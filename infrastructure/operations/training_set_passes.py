"""The passes of a training set as the worker processes run them: each takes some parts of a job."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple

from domain.features.eta.packaged import model_of
from infrastructure.backends import open_backends
from infrastructure.operations.served_rows import BATCH_ETAS, ServedPass, served_orders
from infrastructure.operations.verify_eta import ModelOf
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_files import make_rows_part
from infrastructure.training_sets.eta_request import INSTANTS, SERVED, EtaRequest
from infrastructure.training_sets.log_clock import LogClock
from infrastructure.training_sets.order_shards import Instants, OrderFiles, make_order_part, named_instants
from infrastructure.training_sets.rider_shards import RiderPass
from infrastructure.training_sets.row_chunks import RowPass

SERVED_IDS = "served-ids.bin"
"""The ids of the answers on record, 8 bytes each, by city snapshot."""
CLOCK = "clock.bin"


class Job(NamedTuple):
    """What every worker gets. ``bounds``: the first clock of each chunk but the first. ``chunks``: their number.

    ``model_of`` finds the models that answers on record name; it is sent to processes, so it is a module's function.
    """

    settings: Settings
    request: EtaRequest
    folder: Path
    bounds: Sequence[int] = ()
    chunks: int = 0
    model_of: ModelOf = model_of


def _counter(heartbeat: Callable[[], None], done: Synchronized[int]) -> Callable[[int], None]:
    def on_done(count: int) -> None:
        with done.get_lock():
            done.value += count
        heartbeat()

    return on_done


def make_orders(heartbeat: Callable[[], None], job: Job, shards: Sequence[int], done: Synchronized[int]) -> None:
    request = job.request
    clock = LogClock(job.folder / CLOCK) if (job.folder / CLOCK).exists() else None
    with open_backends(job.settings) as backends:
        for shard in shards:
            files = OrderFiles(job.folder, shard)
            named: dict[str, list[int]] = {}
            if request.rule.kind == SERVED:
                named = served_orders(job.folder, shard, range(job.chunks))
            elif request.rule.kind == INSTANTS:
                named = named_instants(files.instants)
            make_order_part(backends, request, files, Instants(request, clock, named), _counter(heartbeat, done))


def make_riders(heartbeat: Callable[[], None], job: Job, shards: Sequence[int], done: Synchronized[int]) -> None:
    with open_backends(job.settings) as backends:
        riders = RiderPass(backends, job.request, job.folder, job.bounds, _counter(heartbeat, done))
        for shard in shards:
            riders.make(shard)


def make_rows(heartbeat: Callable[[], None], job: Job, chunks: Sequence[int], done: Synchronized[int]) -> None:
    rows = RowPass(job.folder, _counter(heartbeat, done))
    for chunk in chunks:
        rows.make(chunk)


def make_answers(heartbeat: Callable[[], None], job: Job, chunks: Sequence[int], done: Synchronized[int]) -> None:
    ids = array("q", (job.folder / SERVED_IDS).read_bytes())
    with open_backends(job.settings) as backends:
        answers = ServedPass(backends, job.folder, job.model_of, _counter(heartbeat, done))
        for chunk in chunks:
            answers.make(chunk, ids[chunk * BATCH_ETAS : (chunk + 1) * BATCH_ETAS])


def make_files(heartbeat: Callable[[], None], job: Job, shards: Sequence[int], done: Synchronized[int]) -> None:
    on_done = _counter(heartbeat, done)
    for shard in shards:
        on_done(make_rows_part(job.folder, shard, range(job.chunks)))
