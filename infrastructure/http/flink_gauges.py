"""Shows the jobs of a Flink cluster in ``/metrics``, also those that the cluster has lost."""

from __future__ import annotations

import math
from collections.abc import Collection

from infrastructure.observability import metrics
from infrastructure.observability.flink_cluster import ClusterUnavailable, FlinkCluster, FlinkJob
from infrastructure.status.flink_line import CANCELLED, job_fault


class FlinkGauges:
    """For one thread at a time, as ``/metrics`` is refreshed by one.

    A cluster forgets its jobs when its JobManager is started again. The gauge of such a job would stay at 1, and no
    alert would say that its projection stands still. So a job that was not cancelled and is not listed any more does
    not run, until this process's own projections follow its stream.
    """

    def __init__(self, cluster: FlinkCluster) -> None:
        self._cluster = cluster
        self._listed: dict[str, FlinkJob] = {}

    def refresh(self, followed_here: Collection[str] = ()) -> None:
        """Read the jobs. ``followed_here``: projections that a runner of ours follows, whose lost jobs are forgotten.

        While the cluster does not answer, the gauges of jobs keep their values: its own gauge has an alert.
        """
        try:
            jobs = self._cluster.jobs()
        except ClusterUnavailable:
            metrics.FLINK_CLUSTER_UP.set(0)
            return
        metrics.FLINK_CLUSTER_UP.set(1)
        for job in jobs:
            _show(job)
        listed = {job.projection: job for job in jobs}
        for name in self._listed.keys() - listed.keys():
            job = self._listed[name]
            if job.state == CANCELLED or name in followed_here:
                _forget(name)
            else:
                listed[name] = job
                metrics.FLINK_JOB_RUNNING.labels(name).set(0)
                metrics.FLINK_CHECKPOINT_AGE.labels(name).set(0.0)
        self._listed = listed


def _show(job: FlinkJob) -> None:
    name = job.projection
    # A cancelled job is no fault: a person ended it.
    metrics.FLINK_JOB_RUNNING.labels(name).set(not job_fault(job))
    metrics.FLINK_JOB_RESTARTS.labels(name).set(job.restarts)
    metrics.FLINK_CHECKPOINT_AGE.labels(name).set(job.checkpoint_age_s or 0.0)


def _forget(name: str) -> None:
    for gauge in (metrics.FLINK_JOB_RUNNING, metrics.FLINK_JOB_RESTARTS, metrics.FLINK_CHECKPOINT_AGE):
        gauge.labels(name).set(math.nan)
