"""Makes the parts of a history or of a training set by bounded jobs on a Flink cluster."""

from __future__ import annotations

import json
from pathlib import Path

from infrastructure.flink.bounded_jobs import BoundedJob, BoundedJobs
from infrastructure.process_pool import OnTick
from infrastructure.replay.parts_elsewhere import PartsOrder, share_of

PROGRAM = Path(__file__).with_name("parts_job.py")


class PartsOnFlink:
    """Makes parts by the subtasks of ``jobs``, whose TaskManagers reach the folder by the path that it has here."""

    def __init__(self, jobs: BoundedJobs) -> None:
        self._jobs = jobs

    def claim(self, folder: Path) -> None:
        """Cancel the jobs that killed commands have left at work in ``folder``. Raises UserError.

        The caller holds the lock of the folder and has submitted no job yet: so each of them has lost its command.
        """
        orphans = self._jobs.cluster.part_jobs(str(folder.absolute()))
        self._jobs.end_orphans((job.job_id, "a killed command for this file") for job in orphans)

    def make(self, order: PartsOrder, on_tick: OnTick) -> None:
        """Run one job for all parts of the order. Raises UserError if it fails, or the cluster does not answer."""
        workers = self._jobs.parallelism
        shares = [
            list(share)
            for number in range(workers)
            if (share := share_of(order.parts, number, workers, in_order=order.in_order))
        ]
        folder = str(order.folder.absolute())
        arguments = (order.kind, folder, str(order.step), json.dumps(shares, separators=(",", ":")))
        self._jobs.run(BoundedJob(order.kind, f"that makes parts in {folder}", PROGRAM, arguments), on_tick)
        on_tick()
