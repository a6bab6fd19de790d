"""The function of the job: folds each gathered batch in a Python worker of the TaskManager. Imports pyflink."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyflink.datastream.functions import FlatMapFunction, RuntimeContext

from infrastructure.backends import projection_named
from infrastructure.flink.digest_check import refuse_other_digest
from infrastructure.flink.gathered_batches import batches_of
from infrastructure.flink.partition_ends import PartitionEnds
from infrastructure.flink.partition_worker import PartitionWorker
from infrastructure.flink.worker_settings import worker_settings
from infrastructure.flink.worker_watchdog import WorkerWatchdog, end_if_closed, end_with_taskmanager
from infrastructure.kafka.topics import topics
from infrastructure.observability import logging as ridelog_logging
from infrastructure.process_pool import tune_gc


class FoldBatches(FlatMapFunction):  # type: ignore[misc]
    """Folds the batches of one subtask. Its servers are those of the TaskManager's environment.

    The job graph that a client submits holds no address of a store, and so no password.
    """

    def __init__(self, projection: str, digest: str, partitions: int) -> None:
        """``digest``: that of the fold at the client. ``partitions``: of the topic, as the client has found it."""
        self._name = projection
        self._digest = digest
        self._partitions = partitions
        self._worker: PartitionWorker | None = None
        self._watchdog: WorkerWatchdog | None = None
        self._topic = ""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Refuse to write with another fold than the client has (invariant 9). Raises UserError, DigestRefused."""
        settings = worker_settings(self._partitions)
        ridelog_logging.configure_in_engine(settings.log_level, settings.log_format, f"flink-{self._name}")
        end_with_taskmanager()
        projection = projection_named(self._name)
        refuse_other_digest(projection, self._digest)
        self._topic = topics(settings)[projection.stream]
        self._worker = PartitionWorker(settings, projection, PartitionEnds(settings, self._topic))
        self._watchdog = WorkerWatchdog(self._worker)
        self._watchdog.start()
        tune_gc()
        self._applied = runtime_context.get_metrics_group().counter("applied")

    def flat_map(self, value: Any) -> Iterable[int]:
        """Fold the batches of one window. Flink ends the bundle before a checkpoint's barrier passes: so what a
        checkpoint covers is in the store."""
        assert self._worker is not None, "open() comes first"
        self._applied.inc(self._worker.receive(batches_of(value, self._topic)))
        return ()

    def close(self) -> None:
        end_if_closed()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._worker is not None:
            self._worker.close()
