"""The directory in which the processes of one ``serve`` share their metrics.

Not in ``metrics.py``: importing that module imports prometheus_client, which reads the variable once, at its import.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FILE: Final = re.compile(r"(counter|histogram|summary|gauge_[a-z]+)_\d+\.db")
"""A file of prometheus_client: the kind of its metrics, and the process that writes it."""


def share_metrics(directory: Path) -> None:
    """Make the directory and name it to prometheus_client. Must run before ``metrics`` is imported."""
    directory.mkdir(parents=True, exist_ok=True)
    os.environ[VARIABLE] = str(directory)


def clear_metrics(directory: Path) -> None:
    """Make the directory, and delete the files of ended processes: they would be added to this run's counters.

    Nothing else is deleted: RIDELOG_METRICS_DIR may name a directory that has other files.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in directory.iterdir():
        if _FILE.fullmatch(path.name):
            path.unlink(missing_ok=True)
