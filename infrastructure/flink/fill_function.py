"""The function of a rebuild's job: fills shards of a generation from the event store. Imports pyflink."""

from __future__ import annotations

import json
from pathlib import Path

from pyflink.datastream.functions import MapFunction, RuntimeContext

from infrastructure.backends import Backends, projection_named
from infrastructure.flink.digest_check import refuse_other_digest
from infrastructure.flink.generation_fill import GenerationFill
from infrastructure.flink.worker_settings import worker_settings
from infrastructure.flink.worker_watchdog import end_if_closed, end_with_taskmanager
from infrastructure.observability import logging as ridelog_logging
from infrastructure.operations.rebuild import FoldHere
from infrastructure.process_pool import tune_gc
from infrastructure.replay.exported_log import rebuild_log
from projections.core.retry import RetryPolicy


class FillShards(MapFunction):  # type: ignore[misc]
    """Fills the shards of one element to their targets; one element for each subtask.

    The fences in the new generation are its only checkpoints. So a restarted subtask goes on where it was.
    """

    def __init__(self, projection: str, digest: str, generation: int, export: str | None) -> None:
        """``export``: the folder with the beginning of the log, by the path that it has on each machine."""
        self._name = projection
        self._digest = digest
        self._generation = generation
        self._export = export

    def open(self, runtime_context: RuntimeContext) -> None:
        """Raises UserError, DigestRefused, PortUnavailable."""
        settings = worker_settings()
        ridelog_logging.configure_in_engine(settings.log_level, settings.log_format, f"flink-rebuild-{self._name}")
        end_with_taskmanager()
        self._projection = projection_named(self._name)
        refuse_other_digest(self._projection, self._digest)
        self._backends = Backends(settings, pool_size=2)
        self._log = rebuild_log(self._backends.log, None if self._export is None else Path(self._export))
        tune_gc()

    def map(self, value: str) -> int:
        """``value``: shard -> target, as JSON. Returns the number of shards, 0 if no rebuild fills the generation.

        Raises LogHasGaps, PortUnavailable.
        """
        targets = {int(shard): target for shard, target in json.loads(value).items()}
        backends, retry = self._backends, RetryPolicy(lambda reason: None)
        sink = backends.stores.sink(self._projection, self._generation)
        here = FoldHere(self._projection, self._log, backends.decode, retry)
        fill = GenerationFill(backends.generations, self._projection, self._generation, sink, retry)
        done = fill.run(lambda sink, targets, on_tick: here.fill(sink, list(targets), targets, on_tick), targets)
        return len(targets) if done else 0

    def close(self) -> None:
        end_if_closed()
        self._backends.close()
