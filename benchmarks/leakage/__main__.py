"""Runs the leakage battery: Ridelog, and every other store that is installed. ``make leakage`` installs them.

python -m benchmarks.leakage [--json] [--markdown] [--python OTHER_PYTHON]

The exit code is 1 if Ridelog fails a trap on any axis.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.leakage.judging import Verdict
from benchmarks.leakage.other_stores import OtherAnswers, from_json, run_other_stores
from benchmarks.leakage.ridelog_log import Databases, embedded_databases
from benchmarks.leakage.ridelog_store import RidelogStore
from benchmarks.leakage.stores import AskedAnswer, FeatureStore, run
from benchmarks.leakage.table import BatteryTable, JudgedBattery, failures, judged_battery, markdown, shown, tables
from benchmarks.leakage.traps import TRAPS

ROOT = Path(__file__).resolve().parents[2]
OTHER_PYTHON = ROOT / ".leakage-venv" / "bin" / "python"
MAX_SECONDS = 1_800.0
"""Bounds the run of the other stores: a library that waits for a network would wait without end."""

STYLES = {"ok": "green", Verdict.LEAKS: "bold red", Verdict.WRONG: "red", Verdict.MISSES: "yellow"}


class OtherStoresFailed(Exception):
    """The other interpreter ended with an error, or printed something else than answers."""


def other_answers(python: Path) -> OtherAnswers:
    """The answers of the other stores, from ``python`` if it exists, else from this interpreter.

    Raises OtherStoresFailed.
    """
    if not python.exists():
        return run_other_stores()
    command = [str(python), "-m", "benchmarks.leakage.other_stores"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "FEAST_USAGE": "False"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=MAX_SECONDS, check=True
        )
        return from_json(done.stdout)
    except subprocess.CalledProcessError as error:
        raise OtherStoresFailed(f"{' '.join(command)} failed: {error.stderr.strip()[-2_000:]}") from error
    except (subprocess.TimeoutExpired, OSError, ValueError, TypeError, AttributeError) as error:
        raise OtherStoresFailed(f"{' '.join(command)}: {error}") from error


@contextmanager
def own_databases() -> Iterator[Databases]:
    """Databases on an embedded PostgreSQL of this run."""
    with tempfile.TemporaryDirectory() as folder, embedded_databases(Path(folder)) as databases:
        yield databases


def run_ridelog(databases: Databases) -> tuple[FeatureStore, list[AskedAnswer]]:
    """Run all traps on Ridelog."""
    store = RidelogStore(databases)
    try:
        return store, run(store, TRAPS)
    finally:
        store.close()


def document(battery: JudgedBattery, found: Sequence[BatteryTable], versions: dict[str, dict[str, str]]) -> Any:
    """Everything of the run as one JSON document."""
    return {
        "versions": versions,
        "tables": [
            {
                "title": table.title,
                "cells": [
                    {"trap": trap, "store": column.store, "setting": column.setting, **one._asdict()}
                    for (trap, column), one in table.cells.items()
                ],
            }
            for table in found
        ],
        "answers": [
            {
                "trap": trap,
                "store": column.store,
                "setting": column.setting,
                **one.ask._asdict(),
                "outcome": one.answer.outcome,
                "answer": one.answer.value,
                "why": one.answer.why,
                "verdict": one.verdict,
            }
            for (trap, column), answers in battery.answers.items()
            for one in answers
        ],
    }


def print_table(console: Console, found: BatteryTable) -> None:
    """Print one part, with a line of scores."""
    table = Table(title=found.title, title_justify="left")
    table.add_column("trap")
    for column in found.columns:
        table.add_column(f"{column.store}\n{column.setting}")
    for trap in found.traps:
        cells = [shown(found.cells.get((trap, column))) for column in found.columns]
        table.add_row(trap, *(_styled(text) for text in cells))
    table.add_section()
    scores = [found.score(column) for column in found.columns]
    table.add_row("ok", *(f"{right} of {asked}" for right, asked in scores))
    console.print(table)


def _styled(text: str) -> str:
    style = STYLES.get(text.partition(" ")[0])
    return f"[{style}]{text}[/]" if style else text


def main(
    arguments: Sequence[str], open_databases: Callable[[], AbstractContextManager[Databases]] = own_databases
) -> int:
    """Run everything and print it. Returns the exit code: 0, 1 if Ridelog fails a trap, 2 if the others cannot run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leakage", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print every answer as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the tables for docs/leakage.md")
    parser.add_argument("--python", type=Path, default=OTHER_PYTHON, help="interpreter that has the other stores")
    options = parser.parse_args(arguments)
    try:
        others = other_answers(options.python)
    except OtherStoresFailed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with open_databases() as databases:
        ridelog, answers = run_ridelog(databases)
    versions = {ridelog.name: ridelog.versions(), **others.versions}
    battery = judged_battery(TRAPS, {ridelog.name: ridelog.settings, **others.settings}, [*answers, *others.answers])
    found = tables(battery, TRAPS)
    failed = failures(battery, ridelog.name)
    _print(options, battery, found, versions)
    for package in others.missing:
        sys.stderr.write(f"not run: {package} is not installed; `make leakage` installs all of them\n")
    for trap, column, one in failed:
        sys.stderr.write(f"Ridelog fails {trap!r} on the axis {column.setting}: {one.ask}, answered {one.answer}\n")
    return 1 if failed else 0


def _print(
    options: Any, battery: JudgedBattery, found: list[BatteryTable], versions: dict[str, dict[str, str]]
) -> None:
    if options.json:
        sys.stdout.write(json.dumps(document(battery, found, versions), indent=1) + "\n")
        return
    if options.markdown:
        sys.stdout.write("\n".join(f"{table.title}\n\n{markdown(table)}" for table in found))
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in found:
        print_table(console, table)
    for store, of in versions.items():
        console.print(f"{store}: {', '.join(f'{name} {number}' for name, number in of.items())}", highlight=False)
    console.print("(2/3): two of three questions are right. –: the store has no such question. See docs/leakage.md.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
