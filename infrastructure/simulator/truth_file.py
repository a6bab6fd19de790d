"""The file that ``--truth`` writes: one row for each leg that has ended."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from infrastructure.errors import UserError
from infrastructure.replay.parquet import ParquetWriter
from infrastructure.replay.whole_files import GrowingExport
from infrastructure.simulator.truth import LegTruth

if TYPE_CHECKING:
    from read_models.view import ColumnType

COLUMNS: dict[str, ColumnType] = {
    "order_id": "text",
    "leg": "text",
    "rider_id": "text",
    "outcome": "text",
    "placed_ms": "integer",
    "food_ready_ms": "integer",
    "began_ms": "integer",
    "arrived_ms": "integer",
    "handover_ms": "integer",
    "reported_arrival_ms": "integer",
    "reported_ms": "integer",
    "ridden_m": "float",
    "stacked": "integer",
}


class TruthFile:
    """Writes legs to a CSV file, or to a Parquet file if the name ends so. The file has its name once it is whole."""

    def __init__(self, path: Path) -> None:
        """Raises UserError if the file cannot be written."""
        self._path = path
        self._parquet: ParquetWriter | None = None
        try:
            if path.suffix == ".parquet":
                self._parquet = ParquetWriter(path, COLUMNS)
            else:
                self._export = GrowingExport(path)
                self._csv = csv.writer(self._export.text, lineterminator="\n")
                self._csv.writerow(COLUMNS)
        except OSError as error:
            raise UserError(f"--truth: cannot write {path}: {error}") from error

    def add(self, legs: Iterable[LegTruth]) -> None:
        for leg in legs:
            row = {**leg._asdict(), "stacked": int(leg.stacked)}
            if self._parquet is not None:
                self._parquet.add(row)
            else:
                self._csv.writerow("" if value is None else value for value in row.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            (self._export if self._parquet is None else self._parquet).abandon()
        elif self._parquet is not None:
            self._parquet.close()
        else:
            self._finish()

    def _finish(self) -> None:
        try:
            self._export.finish()
        except OSError as error:
            raise UserError(f"--truth: cannot write {self._path}: {error}") from error
