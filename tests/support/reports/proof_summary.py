"""Generates docs/proofs.md, a line a run and test, from the tables that ``make prove`` writes to proofs/.

python -m tests.support.reports.proof_summary   writes the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "proofs"
PAGE = ROOT / "docs" / "proofs.md"
_COMMIT = re.compile(r"[Cc]ommit `([0-9a-f]+)(-dirty)?`")
_ROW = re.compile(
    r"^\| `(?P<test>[^`\[]+)[^`]*`(?P<own>[^|]*) \| (?P<outcome>\w+) \| (?P<seconds>[\d.]+) \| (?P<says>.*) \|$"
)
HEAD = """# Proofs that were run

Made from the tables in [proofs/](../proofs) by `python -m tests.support.reports.proof_summary`; do not edit.
`make prove` adds a table and renews this page. Each table has one row a test: its parameters, seconds and measurements.
Faults by kind and broker are in [guarantees.md](guarantees.md#faults-that-are-tried).
"""


class ProofRuns(NamedTuple):
    """All runs of one test on one commit in one table. ``says``: what the test reported, where it ran only once."""

    test: str
    commit: str
    passed: int
    failed: int
    seconds: float
    says: str


def runs_of(table: str) -> list[ProofRuns]:
    """The runs of one table, grouped by test and commit. Raises ValueError if the table names no commit."""
    named = _COMMIT.search(table)
    if named is None:
        raise ValueError("the table names no commit")
    grouped: dict[tuple[str, str], list[re.Match[str]]] = {}
    for row in map(_ROW.match, table.splitlines()):
        if row is not None:
            own = _COMMIT.search(row["own"]) or named
            grouped.setdefault((row["test"], own[1][:12] + (own[2] or "")), []).append(row)
    return [
        ProofRuns(
            test,
            commit,
            sum(row["outcome"] == "passed" for row in rows),
            sum(row["outcome"] != "passed" for row in rows),
            sum(float(row["seconds"]) for row in rows),
            rows[0]["says"] if len(rows) == 1 else "",
        )
        for (test, commit), rows in grouped.items()
    ]


def rendered(tables: Iterable[tuple[str, str]]) -> str:
    """The page, from the name and text of each table."""
    lines = [HEAD, "| when | table | commit | what | result | minutes |", "|---|---|---|---|---|---|"]
    for name, table in sorted(tables):
        for run in runs_of(table):
            result = f"{run.passed} passed" + (f", **{run.failed} failed**" if run.failed else "")
            file, _, test = run.test.rpartition("::")
            lines.append(
                f"| {name[:10]} | [{name}](../proofs/{name}) | `{run.commit}` | `{file.rpartition('/')[2]}`: "
                f"{test.removeprefix('test_').replace('_', ' ')} | {result}{run.says and f': {run.says}'} "
                f"| {run.seconds / 60:.0f} |"
            )
    return "\n".join(lines) + "\n"


def current() -> str:
    """The page for the tables that are in proofs/ now."""
    return rendered((file.name, file.read_text()) for file in FOLDER.glob("*.md"))


def write() -> None:
    """Write the page."""
    PAGE.write_text(current())


if __name__ == "__main__":
    write()
