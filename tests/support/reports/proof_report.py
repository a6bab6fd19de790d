"""What ``make prove`` leaves behind: each proof's outcome with the commit it was run on, under docs/proofs/."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "proofs"


def commit() -> str:
    """The commit under test, marked if the checkout differs from it, but for what proofs leave behind."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, cwd=FOLDER
        ).stdout.strip()

    return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", ":/", ":!/docs/proofs") else "")


def write(reports: Sequence[pytest.TestReport]) -> Path:
    """One table a run; seeds are the parameters of the tests, so a row's name is enough to run it again."""
    done = time.strftime("%Y-%m-%d", time.gmtime())
    lines = [
        f"# Proofs of {done}",
        "",
        f"Commit `{commit()}`, Python {platform.python_version()}, by `make prove`. Seeds are derived from the names.",
        "",
        "| proof | outcome | seconds | says |",
        "|---|---|---|---|",
    ]
    for report in sorted(reports, key=lambda r: r.nodeid):
        says = "; ".join(f"{name}: {value}" for name, value in report.user_properties)
        lines.append(f"| `{report.nodeid}` | {report.outcome} | {report.duration:.1f} | {says} |")
    file = FOLDER / f"{done}.md"
    file.write_text("\n".join(lines) + "\n")
    return file
