"""Loads the modules of all programs into a process that is forked for each of them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from infrastructure.observability.metrics_directory import VARIABLE, share_metrics


def load_programs(names: Sequence[str]) -> None:
    """Import what the programs of these names import.

    Opens no connection and starts no thread: neither would survive a fork.

    The metrics get files of their own, which are deleted: a fork opens others when it first sets a metric, in the
    directory that it shares with the other programs. Files of this process would add zeros to theirs.

    Raises RuntimeError if the metrics are loaded already: then no fork could share its own.
    """
    if "prometheus_client" in sys.modules:
        raise RuntimeError("the metrics were loaded before their directory was known")
    with TemporaryDirectory(prefix="ridelog-metrics-") as folder:
        share_metrics(Path(folder))
        for name in names:
            importlib.import_module(f"infrastructure.processes.{name}")
    del os.environ[VARIABLE]
