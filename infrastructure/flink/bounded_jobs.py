"""Runs bounded jobs on a Flink cluster for a command: submits each, waits for its end, and says why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from infrastructure.errors import UserError
from infrastructure.flink.client import FlinkClient, Submission
from infrastructure.observability.flink_cluster import STATES_OF_A_RUNNING_JOB, ClusterUnavailable, FlinkCluster
from infrastructure.observability.flink_failures import reason_of
from infrastructure.operations.fill_jobs import POLL_INTERVAL_S, end_orphan
from infrastructure.process_pool import OnTick

MAX_UNANSWERED_POLLS = 20
"""A JobManager in a pause of its garbage collector has not ended; one that is silent for a minute has."""
RESTARTING = "RESTARTING"


class BoundedJob(NamedTuple):
    """A job that ends by itself. ``does``: what it does, for people, as in "that fills speed@2"."""

    name: str
    does: str
    program: Path
    arguments: tuple[str, ...]


class BoundedJobs:
    """Jobs of one command on ``cluster``, by ``parallelism`` subtasks. ``settings``: the client's RIDELOG_* variables.

    A command that was killed by SIGKILL leaves its job behind: the next one calls ``end_orphans`` first.
    """

    def __init__(
        self,
        client: FlinkClient,
        cluster: FlinkCluster,
        settings: Mapping[str, str],
        parallelism: int,
        sleep: Callable[[float], None] = time.sleep,
        on_note: Callable[[str], None] = lambda note: None,
    ) -> None:
        """``on_note`` gets lines for people."""
        self.cluster = cluster
        self.parallelism = parallelism
        self._client = client
        self._settings = settings
        self._sleep = sleep
        self._on_note = on_note

    def run(self, job: BoundedJob, on_tick: OnTick) -> None:
        """Return once the job has finished; an aborted command cancels it. Raises UserError if it ends otherwise.

        A restart by Flink is a note: the job makes what is missing.
        """
        submission = Submission(job.name, self.parallelism, program=job.program, arguments=job.arguments)
        job_id = self._client.submit(submission, self._settings)
        state, unanswered = "CREATED", 0
        try:
            while state in STATES_OF_A_RUNNING_JOB:
                before = state
                try:
                    state, unanswered = self.cluster.state(job_id), 0
                except ClusterUnavailable:
                    unanswered += 1
                    if unanswered > MAX_UNANSWERED_POLLS:
                        raise
                if state == RESTARTING != before:
                    self._on_note(f"Flink restarts the job {job_id} {job.does}{self._why(job_id)}")
                if state in STATES_OF_A_RUNNING_JOB:
                    on_tick()
                    self._sleep(POLL_INTERVAL_S)
        finally:
            if state in STATES_OF_A_RUNNING_JOB:
                self.cluster.cancel(job_id)
        if state != "FINISHED":
            raise UserError(
                f"the job {job_id} {job.does} is {state}{self._why(job_id)}; see the cluster's log, and run the "
                "command again; it goes on where the job ended"
            )

    def end_orphans(self, orphans: Iterable[tuple[str, str]]) -> None:
        """End the jobs that killed commands have left. ``orphans``: the id of each with what left it, for people.

        Raises UserError if one does not end.
        """
        for job_id, left_by in orphans:
            end_orphan(self.cluster, job_id, left_by, self._on_note, self._sleep)

    def _why(self, job_id: str) -> str:
        try:
            trace = self.cluster.failure(job_id)
        except ClusterUnavailable:
            return ""
        return f" ({reason_of(trace)})" if trace else ""
