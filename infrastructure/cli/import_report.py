"""Ends an import: prints its counts and a few rejected rows, and sets the exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from infrastructure.cli.error_handling import INTERRUPTED
from infrastructure.cli.output import echo
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.imports.report import ImportTally, RejectExamples, RejectFile


def finish(tally: ImportTally, examples: RejectExamples, seconds: float, as_json: bool, interrupted: str) -> None:
    """Print the report. ``interrupted`` says how to continue after an interrupt, "" if there was none.

    Raises UserError if every row was rejected or a row has no verdict, typer.Exit after an interrupt.
    """
    _print_counts(tally, seconds, as_json)
    for line in examples.lines:
        echo(f"for example {line}", err=True)
    if interrupted:
        echo(f"interrupted; {interrupted}", err=True)
        raise typer.Exit(INTERRUPTED)
    if tally.unaccounted:
        raise UserError(f"{tally.unaccounted:,} rows are not accounted for; this is a defect, please report it")
    hint = examples.hint
    if tally.rows and tally.rejected.total() == tally.rows:
        raise UserError(f"none of {tally.rows:,} rows was recorded; all were rejected{f' ({hint})' if hint else ''}")
    if hint:
        echo(f"hint: {hint}", err=True)


def interrupted_import(advice: str, writer: RejectFile | None) -> str:
    """What to do after an interrupt. Leaves no file of rejected rows: it would look like that of a whole import."""
    if writer is None:
        return advice
    writer.abandon()
    return f"{advice}; the file of --rejects is written by an import that ends"


def counted(tally: ImportTally) -> str:
    """The counts in one line, for an error in the middle of an import."""
    return f"{tally.accepted:,} accepted, {tally.duplicates:,} duplicates, {tally.rejected.total():,} rejected"


def _print_counts(tally: ImportTally, seconds: float, as_json: bool) -> None:
    rate = tally.rows / max(seconds, 1e-3)
    if as_json:
        echo(json.dumps(tally.summary() | {"seconds": round(seconds, 3), "rows_per_second": round(rate, 1)}))
        return
    lines = [("rows read", tally.rows), ("accepted", tally.accepted), ("duplicates", tally.duplicates)]
    lines += [(f"rejected {code}", count) for code, count in sorted(tally.rejected.items())]
    for name, count in lines:
        echo(f"{name:<32}{count:>14,}")
    echo(f"{seconds:.1f} s, {rate:,.0f} rows/s")
