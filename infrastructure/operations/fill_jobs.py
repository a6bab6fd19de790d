"""Ends the jobs on a Flink cluster that fill generations of a projection for rebuilds that were killed."""

from __future__ import annotations

import time
from collections.abc import Callable

from infrastructure.errors import UserError
from infrastructure.observability.flink_cluster import (
    STATES_OF_A_RUNNING_JOB,
    ClusterUnavailable,
    FillJob,
    FlinkCluster,
    cluster_of,
)
from infrastructure.settings.settings import Settings

POLL_INTERVAL_S = 0.5
MAX_CANCEL_POLLS = 240
"""A job that is cancelled ends within seconds; one that has not after two minutes hangs."""


class FillJobs:
    """The jobs on ``cluster`` that fill generations of ``projection``."""

    def __init__(
        self,
        cluster: FlinkCluster,
        projection: str,
        on_note: Callable[[str], None] = lambda note: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``on_note`` gets lines for people."""
        self._cluster = cluster
        self._projection = projection
        self._on_note = on_note
        self._sleep = sleep

    def end_all(self) -> None:
        """Cancel all of them and wait until they have ended. Raises UserError if one does not end.

        Only one rebuild of a projection runs at a time, by its lock in Postgres. So a caller that holds this lock, and
        has no job of its own, finds only jobs that have lost their commands.
        """
        for job in self._cluster.fills(self._projection):
            self._end(job)

    def end_those_of(self, generation: int) -> None:
        """Cancel those that fill ``generation``, and wait as ``end_all``. Raises UserError."""
        for job in self._cluster.fills(self._projection):
            if job.generation == f"{self._projection}@{generation}":
                self._end(job)

    def is_running(self, job_id: str) -> bool:
        """Whether the job has not ended. Raises ClusterUnavailable."""
        return self._cluster.state(job_id) in STATES_OF_A_RUNNING_JOB

    def _end(self, job: FillJob) -> None:
        self._on_note(f"cancelling the job {job.job_id} that a killed rebuild of {job.generation} has left")
        try:
            self._cluster.cancel(job.job_id)
        except ClusterUnavailable:
            # It may have ended meanwhile.
            if self.is_running(job.job_id):
                raise
        for _ in range(MAX_CANCEL_POLLS):
            if not self.is_running(job.job_id):
                return
            self._sleep(POLL_INTERVAL_S)
        raise UserError(
            f"the job {job.job_id} of a killed rebuild does not end: restart the TaskManager that runs it, "
            "then run the command again"
        )


def ender_of_other_fills(settings: Settings, projection: str, on_note: Callable[[str], None]) -> Callable[[int], None]:
    """Returns what ends the fills of a generation on the cluster of ``settings``; it does nothing without a cluster.

    A cluster that does not answer must not block a rebuild on this machine, a switch or a drop. A job that fills there
    sees the generation's state itself, and ends (``infrastructure.flink.generation_fill``).
    """
    cluster = cluster_of(settings.flink_url, settings.topic_prefix)

    def end_other_fills(generation: int) -> None:
        if cluster is None:
            return
        try:
            FillJobs(cluster, projection, on_note).end_those_of(generation)
        except ClusterUnavailable as error:
            on_note(
                f"{error}; a job there that a killed rebuild has left ends by itself once no rebuild fills generation "
                f"{generation} of {projection}"
            )

    return end_other_fills
