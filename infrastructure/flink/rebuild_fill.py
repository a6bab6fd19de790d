"""Fills the new generation of a rebuild by a bounded job on a Flink cluster, and waits for its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from infrastructure.errors import UserError
from infrastructure.flink.client import FlinkClient, Submission
from infrastructure.observability.flink_cluster import STATES_OF_A_RUNNING_JOB, FlinkCluster
from infrastructure.operations.fill_jobs import POLL_INTERVAL_S, FillJobs
from infrastructure.process_pool import OnTick

PROGRAM = Path(__file__).with_name("rebuild_job.py")


def shard_parts(targets: Mapping[int, int], parts: int) -> list[dict[int, int]]:
    """The shards with their targets in at most ``parts`` parts of nearly one number of events.

    Each part reads all positions of its range of the log, so more parts than subtasks would read it more often.
    """
    found: list[dict[int, int]] = [{} for _ in range(parts)]
    for shard, target in sorted(targets.items(), key=lambda one: (-one[1], one[0])):
        smallest = min(found, key=lambda part: (sum(part.values()), len(part)))
        smallest[shard] = target
    return [part for part in found if part]


class FoldOnFlink:
    """Fills a generation on ``cluster`` by ``parallelism`` subtasks. ``settings``: the client's RIDELOG_* variables."""

    def __init__(
        self,
        client: FlinkClient,
        cluster: FlinkCluster,
        settings: Mapping[str, str],
        projection: str,
        parallelism: int,
        sleep: Callable[[float], None] = time.sleep,
        on_note: Callable[[str], None] = lambda note: None,
    ) -> None:
        """``on_note`` gets lines for people."""
        self._client = client
        self._cluster = cluster
        self._settings = settings
        self._name = projection
        self._parallelism = parallelism
        self._sleep = sleep
        self._on_note = on_note

    def fill(self, generation: int, targets: Mapping[int, int], on_tick: OnTick) -> None:
        """Bring all shards to their targets. An aborted rebuild cancels its job, and is resumed at the fences.

        Jobs that killed rebuilds have left are cancelled before, and those that appear meanwhile after it: Flink's
        client may submit one after its command was killed. Raises UserError if the job fails, or the cluster does not
        answer.
        """
        others = FillJobs(self._cluster, self._name, self._on_note, self._sleep)
        others.end_all()
        arguments = (self._name, str(generation), json.dumps(targets, separators=(",", ":")))
        submission = Submission(self._name, self._parallelism, program=PROGRAM, arguments=arguments)
        job_id = self._client.submit(submission, self._settings)
        state = "CREATED"
        try:
            while (state := self._cluster.state(job_id)) in STATES_OF_A_RUNNING_JOB:
                on_tick()
                self._sleep(POLL_INTERVAL_S)
        finally:
            if state in STATES_OF_A_RUNNING_JOB:
                self._cluster.cancel(job_id)
        if state != "FINISHED":
            raise UserError(
                f"the job {job_id} that fills generation {generation} of {self._name} is {state}: see the cluster's "
                "log, and run the command again; it goes on where the job ended"
            )
        others.end_all()
