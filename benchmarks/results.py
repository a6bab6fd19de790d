"""Reports the figures of a benchmark: printed with their targets for people, and written as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent / "results"
"""Not in git: a result belongs to one machine and one hour. The documents quote the relevant ones."""

# Taken before the benchmark runs: on a machine that is already busy, a rate means little.
_LOAD_BEFORE = os.getloadavg()[0]


class Bound(StrEnum):
    """The direction of a target; the values are printed and written."""

    AT_LEAST = "at least"
    """For rates and ratios."""
    AT_MOST = "at most"
    """For latencies and costs."""


class Target(NamedTuple):
    """The bound that the project promises for a figure."""

    kind: Bound
    value: float

    def is_met(self, figure: float) -> bool:
        """A figure that equals the target meets it."""
        return figure >= self.value if self.kind is Bound.AT_LEAST else figure <= self.value

    def verdict(self, figure: float) -> str:
        """The target, and whether ``figure`` meets it."""
        return f"target {self.kind} {self.value:,g}: {'met' if self.is_met(figure) else 'MISSED'}"


def at_least(value: float) -> Target:
    """A target for rates and ratios."""
    return Target(Bound.AT_LEAST, value)


def at_most(value: float) -> Target:
    """A target for latencies and costs."""
    return Target(Bound.AT_MOST, value)


def report(
    name: str, figures: Mapping[str, Any], targets: Mapping[str, Target] | None = None, folder: Path = FOLDER
) -> None:
    """Print ``figures`` and the ``targets`` of some of them; write both to ``<folder>/<name>.json``.

    The file of an earlier run of that benchmark is replaced. Raises KeyError for a target without a figure.
    """
    verdicts = {label: _verdict(target, figures[label]) for label, target in (targets or {}).items()}
    print(f"\n{name}  (Python {platform.python_version()}, {platform.machine()}, load before {_LOAD_BEFORE:.1f})")
    for label, value in figures.items():
        target = (targets or {}).get(label)
        print(f"  {label:<60} {_shown(value):>12}  {target.verdict(value) if target else ''}".rstrip())
    print(json.dumps({"benchmark": name, **figures}))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}.json"
    file.write_text(
        json.dumps({"benchmark": name, **_where(), "figures": figures, "targets": verdicts}, indent=2) + "\n"
    )


def _shown(value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:,.2f}"


def _verdict(target: Target, figure: float) -> dict[str, Any]:
    return {"kind": target.kind, "value": target.value, "met": target.is_met(figure)}


def _where() -> dict[str, Any]:
    """The run that produced the figures."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load_before": round(_LOAD_BEFORE, 1),
        },
    }


def _commit() -> str:
    """The commit, marked if the checkout differs from it; "unknown" outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parent).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
