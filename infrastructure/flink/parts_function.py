"""The function of a job that makes parts of a history or of a training set. Imports pyflink."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pyflink.datastream.functions import MapFunction, RuntimeContext

from infrastructure.backends import EVENT_STORE_SETTINGS
from infrastructure.flink.worker_settings import worker_settings
from infrastructure.flink.worker_watchdog import end_if_closed, end_with_taskmanager
from infrastructure.observability import logging as ridelog_logging
from infrastructure.operations.training_set_elsewhere import TRAINING_SET, make_pass_parts
from infrastructure.process_pool import tune_gc
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.feature_history import HISTORY, make_history_parts

MAKERS: Final[Mapping[str, Callable[[Settings, Path, int, Sequence[int]], None]]] = {
    HISTORY: make_history_parts,
    TRAINING_SET: make_pass_parts,
}
"""By the kind of an order; each runs the code that a worker process of the command runs."""


class MakeParts(MapFunction):  # type: ignore[misc]
    """Makes the parts of one element; one element for each subtask.

    The files of finished parts are its only checkpoints. So a restarted subtask makes those that are missing.
    """

    def __init__(self, kind: str, folder: str, step: int) -> None:
        self._kind = kind
        self._folder = folder
        self._step = step

    def open(self, runtime_context: RuntimeContext) -> None:
        """Raises UserError."""
        self._settings = worker_settings(needed=EVENT_STORE_SETTINGS)
        ridelog_logging.configure_in_engine(self._settings.log_level, self._settings.log_format, f"flink-{self._kind}")
        end_with_taskmanager()
        tune_gc()

    def map(self, value: str) -> int:
        """``value``: numbers of parts, as JSON. Returns how many. Raises UserError, Unresolvable, PortUnavailable."""
        parts = json.loads(value)
        MAKERS[self._kind](self._settings, Path(self._folder), self._step, parts)
        return len(parts)

    def close(self) -> None:
        end_if_closed()
