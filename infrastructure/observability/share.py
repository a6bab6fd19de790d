"""Where the processes of one ``serve`` leave their metrics for each other."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(directory: Path) -> None:
    """Must run before anything imports ``infrastructure.observability.metrics``: the library looks once."""
    directory.mkdir(parents=True, exist_ok=True)
    os.environ[VARIABLE] = str(directory)
