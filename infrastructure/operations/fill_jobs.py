"""Ends the jobs on a Flink cluster that killed commands have left, such as those that fill a generation."""

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

    def _end(self, job: FillJob) -> None:
        end_orphan(self._cluster, job.job_id, f"a killed rebuild of {job.generation}", self._on_note, self._sleep)


def end_orphan(
    cluster: FlinkCluster,
    job_id: str,
    left_by: str,
    on_note: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Cancel the job that a killed command has left, and wait until it has ended. ``left_by`` names the command.

    Raises UserError if it does not end.
    """
    on_note(f"cancelling the job {job_id} that {left_by} has left")
    try:
        cluster.cancel(job_id)
    except ClusterUnavailable:
        # It may have ended meanwhile.
        if _is_running(cluster, job_id):
            raise
    for _ in range(MAX_CANCEL_POLLS):
        if not _is_running(cluster, job_id):
            return
        sleep(POLL_INTERVAL_S)
    raise UserError(
        f"the job {job_id} that {left_by} has left does not end: restart the TaskManager that runs it, "
        "then run the command again"
    )


def _is_running(cluster: FlinkCluster, job_id: str) -> bool:
    return cluster.state(job_id) in STATES_OF_A_RUNNING_JOB


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
