"""Fills the new generation of a rebuild by a bounded job on a Flink cluster, and waits for its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from infrastructure.flink.bounded_jobs import BoundedJob, BoundedJobs
from infrastructure.flink.client import FlinkClient
from infrastructure.observability.flink_cluster import FlinkCluster
from infrastructure.operations.fill_jobs import FillJobs
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
        export: Path | None = None,
    ) -> None:
        """``on_note`` gets lines for people. ``export``: a folder with the beginning of the log, which all reach."""
        self._export = () if export is None else ("--export", str(export.absolute()))
        self._jobs = BoundedJobs(client, cluster, settings, parallelism, sleep, on_note)
        self._others = FillJobs(cluster, projection, on_note, sleep)
        self._name = projection

    def fill(self, generation: int, targets: Mapping[int, int], on_tick: OnTick) -> None:
        """Bring all shards to their targets. An aborted rebuild cancels its job, and is resumed at the fences.

        Jobs that killed rebuilds have left are cancelled before, and those that appear meanwhile after it: Flink's
        client may submit one after its command was killed. Raises UserError if the job fails, or the cluster does not
        answer.
        """
        self._others.end_all()
        arguments = (self._name, str(generation), json.dumps(targets, separators=(",", ":")), *self._export)
        does = f"that fills generation {generation} of {self._name}"
        self._jobs.run(BoundedJob(self._name, does, PROGRAM, arguments), on_tick)
        self._others.end_all()
