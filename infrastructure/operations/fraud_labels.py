"""Exports reviews as labels: one row a review, with the alert's signals, for training and for measuring the signals.

In CSV, no cell is a formula in a spreadsheet (``spreadsheet_cells``). Parquet has every text as it is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

from infrastructure.errors import UserError
from infrastructure.imports.spreadsheet_cells import shown_cell
from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.replay import parquet
from infrastructure.replay.whole_files import writing_export
from projections.cases import case_sources
from read_models.fraud.queries import labels
from read_models.view import ColumnType

FETCHED_ROWS = 5_000

COLUMNS: Final[dict[str, ColumnType]] = {
    "alert_id": "text",
    "kind": "text",
    "rider_id": "text",
    "signals": "text",
    "score": "integer",
    "fold_version": "integer",
    "verdict": "text",
    "is_latest": "integer",
    "by": "text",
    "at": "instant",
    "position": "integer",
}
"""``signals`` has names, separated by commas. ``is_latest`` is 1 for the review of an alert that holds, else 0.
``position`` is that of the review."""


def write_labels(engine: Engine, path: Path) -> int:
    """Write every review to ``path`` (CSV, or Parquet by its suffix), by position. Returns their number.

    The file gets its name only when it is complete. Raises UserError, PortUnavailable.
    """
    with unavailable_as_port_error():
        try:
            if path.suffix == ".parquet":
                return parquet.write(path, COLUMNS, _rows(engine))
            return _write_csv(path, _rows(engine))
        except OSError as error:
            raise UserError(f"cannot write {path}: {error}; name another file with --out") from error


def _rows(engine: Engine) -> Iterator[Mapping[str, Any]]:
    with engine.connect() as connection:
        for row in connection.execution_options(yield_per=FETCHED_ROWS).execute(labels(case_sources())):
            yield {name: getattr(row, name) for name in COLUMNS} | {"is_latest": int(row.is_latest)}


def _write_csv(path: Path, rows: Iterator[Mapping[str, Any]]) -> int:
    count = 0
    with writing_export(path) as file, TextIOWrapper(file, encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for row in rows:
            at = row["at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
            writer.writerow(at if name == "at" else shown_cell(row[name]) for name in COLUMNS)
            count += 1
    return count
