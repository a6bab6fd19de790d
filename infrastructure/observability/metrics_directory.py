"""The directory in which the processes of one ``serve`` share their metrics.

Not in ``metrics.py``: importing that module imports prometheus_client, which reads the variable once, at its import.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(directory: Path) -> None:
    """Make the directory and name it to prometheus_client. Must run before ``metrics`` is imported."""
    directory.mkdir(parents=True, exist_ok=True)
    os.environ[VARIABLE] = str(directory)
