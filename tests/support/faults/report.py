"""Extracts the runs of faults from pytest's reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.faults.table import Run


def fault_runs(reports: Iterable[pytest.TestReport]) -> list[Run]:
    """Runs of those reports that have a fault and a broker among their properties."""
    runs = []
    for report in reports:
        said: dict[str, Any] = dict(report.user_properties)
        if "fault" in said:
            runs.append(
                Run(
                    str(said["fault"]),
                    str(said["broker"]),
                    report.passed,
                    int(said.get("pings", 0)),
                    int(said.get("sent again", 0)),
                    float(said.get("right after s", report.duration)),
                )
            )
    return runs
