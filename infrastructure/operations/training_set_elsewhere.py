"""The passes of a training set on other machines, which reach the folder of its parts; its files are written here.

A file of rows depends on the version of the Parquet library, and the manifest names that of the command.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infrastructure.backends import Backends
from infrastructure.operations.training_set_passes import Job, OnDone, Pass, RunShare, passes_of
from infrastructure.operations.training_set_request import set_identity
from infrastructure.replay.parts_elsewhere import (
    FinishedParts,
    PartsElsewhere,
    PartsOrder,
    read_work,
    refuse_other_identity,
    refuse_other_log,
)
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_request import EtaRequest
from projections.orders import ORDERS

TRAINING_SET = "training-set"
"""The kind of output, for machines that make its parts."""


def run_elsewhere(elsewhere: PartsElsewhere) -> RunShare:
    """What makes the parts on other machines, but for a pass that this machine makes alone."""

    def run(number: int, of: Pass, job: Job, share: Sequence[int], on_done: OnDone) -> None:
        if of.here_alone:
            of.work(job, share, on_done)
            return
        finished = FinishedParts([of.sidecar(job.folder, part) for part in share], of.counted)
        order = PartsOrder(TRAINING_SET, job.folder, number, share, of.in_order)
        elsewhere.make(order, lambda: on_done(finished.count_new()))

    return run


def make_pass_parts(settings: Settings, folder: Path, step: int, parts: Sequence[int]) -> None:
    """Make parts of one pass of the training set that a command on another machine writes.

    Raises UserError if this machine does not see ``folder``, or would make other rows; PortUnavailable, Unresolvable.
    """
    request = read_work(folder, EtaRequest)
    with Backends(settings) as backends:
        refuse_other_log(backends, ORDERS.stream, request.log_id)
        refuse_other_identity(folder, set_identity(backends, request))
    of = passes_of(request)[step]
    missing = [part for part in parts if not of.sidecar(folder, part).exists()]
    if missing:
        of.work(Job(settings, request, folder), missing, lambda count: None)
