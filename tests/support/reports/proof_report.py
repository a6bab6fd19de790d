"""Records what ``make prove`` ran: each proof's outcome with its commit, in proofs/, and the summary docs/proofs.md."""

from __future__ import annotations

import platform
import string
import subprocess
import time
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

import pytest

from tests.support.reports import proof_summary
from tests.support.reports.proof_summary import FOLDER


def commit() -> str:
    """The commit under test, marked if the checkout differs from it in more than what proofs record."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, cwd=FOLDER
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", ":/", ":!/proofs", ":!/docs/proofs.md")
    return git("rev-parse", "HEAD") + ("-dirty" if changed else "")


def write(reports: Sequence[pytest.TestReport]) -> Path:
    """Write one table a run and update the summary.

    Seeds are parameters of the tests, so the name in a row is enough to repeat it.
    """
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
    # A table of an earlier run of the same day stays.
    endings = chain([""], (f"-{letter}" for letter in string.ascii_lowercase), (f"-{number}" for number in count(1)))
    file = next(path for path in (FOLDER / f"{done}{ending}.md" for ending in endings) if not path.exists())
    file.write_text("\n".join(lines) + "\n")
    proof_summary.write()
    return file
