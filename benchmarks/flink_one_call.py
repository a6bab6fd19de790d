"""The program of a job that calls Python once for each event: what the gathered columns are compared with.

``benchmarks/flink.py`` submits it. Imports pyflink.
"""

from __future__ import annotations

import sys

from infrastructure.flink.job import submit
from infrastructure.flink.statements import COLUMNS
from infrastructure.settings.settings import Settings


def one_row_an_event(_gather_ms: int) -> str:
    """The query without a window: each record is a batch of its own."""
    return f"SELECT {', '.join(f'ARRAY[`{name}`] AS `{name}s`' for name in COLUMNS)} FROM arrivals"


if __name__ == "__main__":
    submit(Settings.load(), sys.argv[1], one_row_an_event)
