"""What the jobs of a Flink cluster mean: the line in ``status``, the stage of ``/health/ready``, the metrics. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from infrastructure.observability.flink_cluster import FlinkJob
from infrastructure.status.lines import StatusLine

CANCELLED = "CANCELED"
MISSED_CHECKPOINTS = 6
"""A job without a checkpoint for so many intervals is late with them: its store is slow, or Kafka is."""
MIN_CHECKPOINT_AGE_S = 60.0
RESTARTS_ADVICE = "see the cluster's log; if it persists, `flink cancel` it, and let `serve` follow the projection"


def job_fault(job: FlinkJob) -> str:
    """What is wrong with a job; "" if it runs, or a person cancelled it."""
    if job.runs or job.state == CANCELLED:
        return ""
    return f"the job of {job.projection} is {job.state}"


def flink_ready(jobs: Sequence[FlinkJob]) -> str:
    """'ok', or which jobs do not run. Late checkpoints take no node out: the fences are in the stores."""
    return "; ".join(fault for job in jobs if (fault := job_fault(job))) or "ok"


def flink_line(jobs: Sequence[FlinkJob], checkpoint_interval_s: float) -> StatusLine:
    """The line of a cluster that answers. The lag of each projection is in that projection's own line."""
    if not jobs:
        return StatusLine("flink", "no job of a projection was submitted", None)
    faults: list[str] = []
    for job in jobs:
        if fault := job_fault(job):
            reason = f" ({job.reason})" if job.reason else ""
            faults.append(f"{fault}{reason}: {RESTARTS_ADVICE}")
        elif job.runs and (job.checkpoint_age_s or 0.0) > overdue_after_s(checkpoint_interval_s):
            faults.append(f"the last checkpoint of {job.projection} is old: is its store slow, or Kafka?")
    return StatusLine("flink", ", ".join(_shown(job) for job in jobs), None, advice="; ".join(faults))


def unavailable_line(reason: str) -> StatusLine:
    """The line of a cluster that does not answer."""
    return StatusLine(
        "flink", reason, None, advice="start its JobManager, or let `serve` follow the projections; nothing is lost"
    )


def overdue_after_s(checkpoint_interval_s: float) -> float:
    """Age in seconds above which a checkpoint is overdue."""
    return max(MIN_CHECKPOINT_AGE_S, MISSED_CHECKPOINTS * checkpoint_interval_s)


def _shown(job: FlinkJob) -> str:
    shown = f"{job.projection} {job.state.lower()}"
    if job.restarts:
        shown += f" after {job.restarts} restarts"
    if job.checkpoint_age_s is not None:
        shown += f", checkpoint {job.checkpoint_age_s:.0f} s ago"
    return shown
