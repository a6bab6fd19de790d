"""``--truth`` writes the same rows as CSV and as Parquet."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from infrastructure.errors import UserError
from infrastructure.simulator.truth_file import COLUMNS, TruthFile
from tests.unit.simulator.scenarios import busy, truths

LEGS = truths(busy(1))


def written(path: Path) -> Path:
    with TruthFile(path) as file:
        file.add(LEGS[:5])
        file.add(LEGS[5:])
    return path


def test_a_csv_file_has_one_row_for_each_leg(tmp_path: Path) -> None:
    rows = list(csv.DictReader(written(tmp_path / "truth.csv").open(encoding="utf-8")))
    assert [row["order_id"] for row in rows] == [leg.order_id for leg in LEGS]
    assert [row["handover_ms"] for row in rows] == [
        "" if leg.handover_ms is None else str(leg.handover_ms) for leg in LEGS
    ]
    assert list(rows[0]) == list(COLUMNS)


def test_a_parquet_file_has_the_same_rows(tmp_path: Path) -> None:
    rows = pq.read_table(written(tmp_path / "truth.parquet")).to_pylist()
    assert rows == [{**leg._asdict(), "stacked": int(leg.stacked)} for leg in LEGS]
    assert [path.name for path in tmp_path.iterdir()] == ["truth.parquet"]


@pytest.mark.parametrize("name", ["truth.csv", "truth.parquet"])
def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="--truth: cannot write"):
        TruthFile(tmp_path / "missing" / name)
