"""The options of a job that decide its cost, its latency and what it survives. Pure."""

from __future__ import annotations

from typing import NamedTuple, Self

from infrastructure.observability.flink_cluster import JOB_PREFIX, PARTS_PREFIX, REBUILD_PREFIX
from infrastructure.settings.settings import Settings

CHECKPOINT_TIMEOUT_MS = 600_000
"""A batch is retried until its store answers, and no checkpoint passes it meanwhile."""
TOLERATED_CHECKPOINT_FAILURES = 1_000_000
"""A store that is unavailable for an hour must not fail the job: offsets are a hint, the fences are in the store."""
MAX_RESTART_DELAY_S = 30
WORKER_OPTIONS = {
    # Thread mode hands arrays over wrongly in Flink 2.3, and its slots share one interpreter lock.
    "python.execution-mode": "process",
    # A Python worker inherits the environment of its TaskManager in any case. By Flink's default, the environment is
    # also in the description of the worker, which Beam writes to Flink's log when the job ends: passwords and keys.
    "python.systemenv.enabled": "false",
}
"""Of every job that has Python workers, as options of Flink."""
MAX_BOUNDED_RESTARTS = 3
"""An error that comes back, such as a folder that a TaskManager does not see, must end the command within a minute."""
BOUNDED_OPTIONS = {
    **WORKER_OPTIONS,
    # Without checkpoints Flink's default is no restart: the end of one TaskManager failed a command of hours. This
    # strategy counts failures that come together once; fixed-delay counts one for each subtask of the TaskManager.
    "restart-strategy.type": "exponential-delay",
    "restart-strategy.exponential-delay.initial-backoff": "3 s",
    "restart-strategy.exponential-delay.backoff-multiplier": "2.0",
    "restart-strategy.exponential-delay.max-backoff": f"{MAX_RESTART_DELAY_S} s",
    "restart-strategy.exponential-delay.attempts-before-reset-backoff": str(MAX_BOUNDED_RESTARTS),
    "restart-strategy.exponential-delay.reset-backoff-threshold": "1 h",
}
"""Of a job that ends by itself. What it has made is in files or fences, so a restart makes what is missing."""


def job_name(settings: Settings, projection: str) -> str:
    """The name of a projection's job on the cluster; several installations may share one cluster."""
    return f"{JOB_PREFIX}{settings.topic_prefix}{projection}"


def rebuild_name(settings: Settings, projection: str, generation: int) -> str:
    """The name of the bounded job that fills a generation. It is no job of the projection: it ends by itself."""
    return f"{REBUILD_PREFIX}{settings.topic_prefix}{projection}@{generation}"


def parts_name(settings: Settings, folder: str) -> str:
    """The name of the bounded job that makes parts of a file in ``folder``."""
    return f"{PARTS_PREFIX}{settings.topic_prefix}{folder}"


class JobOptions(NamedTuple):
    """``gather_ms``: for how long a partition's records are gathered. ``bundle_batches``, ``bundle_ms``: how many
    batches, for how long, Flink hands to Python at once. ``checkpoint_ms``: interval of the checkpoints."""

    gather_ms: int
    bundle_batches: int
    bundle_ms: int
    checkpoint_ms: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The options that the settings name."""
        return cls(
            settings.flink_gather_ms,
            settings.flink_bundle_batches,
            settings.flink_bundle_ms,
            settings.flink_checkpoint_ms,
        )

    def flink(self) -> dict[str, str]:
        """As options of Flink."""
        return {
            **WORKER_OPTIONS,
            # Operators of one task hand rows over without a copy: none of this job keeps a row that it was given.
            "pipeline.object-reuse": "true",
            "python.fn-execution.bundle.size": str(self.bundle_batches),
            "python.fn-execution.bundle.time": str(self.bundle_ms),
            "execution.checkpointing.interval": f"{self.checkpoint_ms} ms",
            "execution.checkpointing.mode": "AT_LEAST_ONCE",
            "execution.checkpointing.timeout": f"{CHECKPOINT_TIMEOUT_MS} ms",
            "execution.checkpointing.tolerable-failed-checkpoints": str(TOLERATED_CHECKPOINT_FAILURES),
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            # For ever, with growing delays: every restart continues from the fences.
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "1 s",
            "restart-strategy.exponential-delay.max-backoff": f"{MAX_RESTART_DELAY_S} s",
        }
