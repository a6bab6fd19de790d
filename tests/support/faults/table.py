"""The table of faults in docs/guarantees.md, made from what the runs of ``make prove`` record in proofs/.

python -m tests.support.faults.table   writes the table from the record.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.support.faults.every import FAULTS
from tests.support.faults.world import APACHE, APACHE_3, EMBEDDED
from tests.support.reports.proof_report import commit
from tests.support.servers.serving import ROOT

RECORD = ROOT / "proofs" / "faults.json"
PAGE = ROOT / "docs" / "guarantees.md"
BEGIN, END = "<!-- faults: made by `make faults`, do not edit -->", "<!-- end of faults -->"


class Run(NamedTuple):
    """One fault at one instant. ``seconds``: from the end of the load until everything was right."""

    fault: str
    broker: str
    passed: bool
    pings: int
    sent_again: int
    seconds: float


class Row(msgspec.Struct, frozen=True):
    """Results of all instants of one fault on one broker, in one run of one commit."""

    fault: str
    broker: str
    instants: int
    passed: int
    pings: int
    sent_again: int
    longest_s: float
    commit: str
    day: str


def rows_of(runs: Iterable[Run], commit_: str, day: str) -> list[Row]:
    """One row per fault and broker, in the order of the runs."""
    grouped: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run.fault, run.broker), []).append(run)
    return [
        Row(
            fault,
            broker,
            len(ran),
            sum(run.passed for run in ran),
            sum(run.pings for run in ran),
            sum(run.sent_again for run in ran),
            max(run.seconds for run in ran),
            commit_,
            day,
        )
        for (fault, broker), ran in grouped.items()
    ]


def merged(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Replace recorded rows by new ones of the same fault and broker, better or worse."""
    known = {(row.fault, row.broker): row for row in old} | {(row.fault, row.broker): row for row in new}
    return [known[key] for key in sorted(known)]


def rendered(rows: Sequence[Row]) -> str:
    """The table in Markdown: one line per fault, in the order of their declaration."""
    brokers = (EMBEDDED, APACHE, APACHE_3)
    found = {(row.fault, row.broker): row for row in rows}
    lines = [f"| fault | what is done | {' | '.join(brokers)} |", "|---|---|---|---|---|"]
    for fault in FAULTS:
        cells = [
            _cell(found.get((fault.name, broker))) if broker in fault.brokers else "does not apply"
            for broker in brokers
        ]
        lines.append(f"| {fault.name} | {fault.done} | {' | '.join(cells)} |")
    pings = sum(row.pings for row in rows)
    instants = sum(row.instants for row in rows)
    failed = instants - sum(row.passed for row in rows)
    commits = ", ".join(sorted({f"`{row.commit[:12]}`" for row in rows}))
    lines += ["", f"{instants} instants, {pings:,} acknowledged pings, {failed} instants failed. Commits: {commits}."]
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "not run"
    verdict = "all right" if row.passed == row.instants else f"**{row.instants - row.passed} failed**"
    return f"{row.instants}: {verdict}; at most {row.longest_s:.0f} s"


def record(runs: Sequence[Run]) -> None:
    """Record the runs of this session."""
    old = on_record()
    rows = merged(old, rows_of(runs, commit(), time.strftime("%Y-%m-%d", time.gmtime())))
    RECORD.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")


def on_record() -> list[Row]:
    """The recorded rows; none before the first run."""
    return msgspec.json.decode(RECORD.read_bytes(), type=list[Row]) if RECORD.exists() else []


def page_with(page: str, table: str) -> str:
    """``page`` with its table replaced. Raises ValueError if it has no place for one."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def write(page: Path = PAGE) -> None:
    """Write the table into the page."""
    page.write_text(page_with(page.read_text(), rendered(on_record())))


if __name__ == "__main__":
    write()
