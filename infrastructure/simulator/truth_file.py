"""The file that ``--truth`` writes: one row for each leg that has ended."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from infrastructure.errors import UserError
from infrastructure.replay.parquet import ParquetWriter
from infrastructure.replay.whole_files import open_private
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
    """Writes legs to a CSV file, or to a Parquet file if the name ends so. A CSV row is complete once it is written."""

    def __init__(self, path: Path) -> None:
        """Raises UserError if the file cannot be written."""
        self._parquet: ParquetWriter | None = None
        try:
            if path.suffix == ".parquet":
                self._parquet = ParquetWriter(path, COLUMNS)
            else:
                self._text = open(path, "w", newline="", encoding="utf-8", opener=open_private)  # noqa: SIM115
                self._csv = csv.writer(self._text, lineterminator="\n")
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
        if self._parquet is not None:
            self._parquet.close()
        else:
            self._text.close()
