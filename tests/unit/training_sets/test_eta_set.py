"""The format of a training set: what is read is what was written, and nothing foreign is believed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.features.eta.features import EtaFeatures
from domain.features.eta.way import Ride, Way
from infrastructure.errors import UserError
from infrastructure.training_sets.eta_rows import (
    COLUMNS,
    FACT_COLUMNS,
    FEATURE_COLUMNS,
    WAY_COLUMNS,
    arrow_schema,
    features_of,
    way_columns,
    way_of,
)
from infrastructure.training_sets.eta_set import FORMAT, MANIFEST, EtaManifest, EtaRule, EtaSet, RowsFile, differences
from infrastructure.training_sets.instants_file import instants_column, read_instants

FEATURES = EtaFeatures(
    "to_customer", None, 1_200.5, 800.25, 0.9, 13.5, 2, 4.5, 250.0, 0.0, 61.0, 2, 3, None, -4.0, ("stacked",)
)
WAY = Way(None, Ride(850.0, 1, 240.5, 1), 251.0, 900.0)


def a_manifest(*files: RowsFile, format_name: str = FORMAT) -> EtaManifest:
    rows = sum(one.rows for one in files)
    return EtaManifest(
        format=format_name,
        log_id="log",
        first_position=1,
        last_position=9,
        axis="known",
        rule=EtaRule("every", every_ms=1_000),
        schema_ids=[1],
        code={},
        settings={},
        fingerprint={"cpu": "x"},
        events=9,
        rows=rows,
        censored=0,
        orders=1,
        different=0,
        undecided={},
        skipped={},
        files=list(files),
        data_digest="digest",
        parquet_library="pyarrow 1",
    )


def write_set(folder: Path, table: pa.Table, rows: int, name: str = "rows-00.parquet") -> None:
    pq.write_table(table, folder / "rows-00.parquet")
    made = a_manifest(RowsFile(name, rows, "", ""))
    (folder / MANIFEST).write_bytes(msgspec.json.encode(made))


def a_row() -> dict[str, object]:
    row = dict.fromkeys(COLUMNS) | {"order_id": "one", "at_ms": 5, "censored": True, "outcome": "open"}
    row |= dict(zip(FEATURE_COLUMNS, FEATURES, strict=True)) | dict(zip(WAY_COLUMNS, way_columns(WAY), strict=True))
    return row


def test_a_model_can_be_asked_again_from_a_row_alone(tmp_path: Path) -> None:
    write_set(tmp_path, pa.Table.from_pylist([a_row()], arrow_schema()), 1)
    [row] = EtaSet(tmp_path).rows()
    assert (features_of(row), way_of(row)) == (FEATURES, WAY)
    assert EtaSet(tmp_path).table(["order_id", "at_ms"]).to_pylist() == [{"order_id": "one", "at_ms": 5}]


def test_every_column_is_a_feature_a_fact_an_answer_or_evidence() -> None:
    assert (len(set(COLUMNS)), len(FEATURE_COLUMNS), len(WAY_COLUMNS), len(FACT_COLUMNS)) == (len(COLUMNS), 16, 10, 10)
    given = {*FEATURE_COLUMNS, *WAY_COLUMNS, *FACT_COLUMNS}
    assert not {name for name in given if name.startswith(("label_", "outcome", "censored", "served_", "position"))}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "no manifest"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "no manifest"),
        (lambda folder: write_format(folder, "another/1"), "has the format 'another/1'"),
        (lambda folder: write_set(folder, a_table(), 2), "has 1 rows; its manifest says 2"),
        (lambda folder: write_set(folder, pa.table({"a": [1]}), 1), "other columns"),
        (lambda folder: write_set(folder, a_table(), 1, "../rows-00.parquet"), "outside its folder"),
        (lambda folder: (folder / "rows-00.parquet").write_bytes(b"PAR1"), "cannot be read"),
        (lambda folder: (folder / "rows-00.parquet").unlink(), "cannot be read"),
    ],
)
def test_a_foreign_or_damaged_set_is_refused(tmp_path: Path, damage: object, said: str) -> None:
    write_set(tmp_path, a_table(), 1)
    assert callable(damage)
    damage(tmp_path)
    with pytest.raises(UserError, match=said):
        list(EtaSet(tmp_path).rows())


def a_table() -> pa.Table:
    return pa.Table.from_pylist([a_row()], arrow_schema())


def write_format(folder: Path, name: str) -> None:
    (folder / MANIFEST).write_bytes(msgspec.json.encode(a_manifest(format_name=name)))


def test_differences_say_what_differs() -> None:
    wanted = a_manifest(RowsFile("rows-00.parquet", 3, "a", "b"))
    assert differences(wanted, wanted) == []
    other = msgspec.structs.replace(wanted, files=[], parquet_library="pyarrow 2")
    assert differences(wanted, other) == ["the rows are the same, the files differ (pyarrow 2, was pyarrow 1)"]
    other = msgspec.structs.replace(wanted, data_digest="x", fingerprint={"cpu": "y"}, rows=4)
    assert differences(wanted, other) == [
        "the numeric fingerprint differs (cpu)",
        "the rows differ (4 of digest x, not 3 of digest)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begins with ''"),
        ("order,time\n", "begins with 'order,time'"),
        ("order_id,time\none\n", "line 2: not an order and a time"),
        ("order_id,time\none,tomorrow\n", "line 2: not an order and a time"),
        ("order_id,position\none,-1\n", "line 2: not an order and a position"),
        ("order_id,position\none,²\n", "line 2: not an order and a position"),
        ("order_id,position\n" + "x" * 2_000 + ",1\n", "longer than 1000 characters"),
    ],
)
def test_a_file_of_instants_is_bounded_before_it_is_believed(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "instants.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        list(read_instants(path))


def test_instants_are_times_or_positions(tmp_path: Path) -> None:
    path = tmp_path / "instants.csv"
    path.write_text('\ufefforder_id,time\n"a, b",1970-01-01T00:00:01Z\n\nc,5\n')
    assert (instants_column(path), list(read_instants(path))) == ("time", [("a, b", 1_000), ("c", 5)])
    path.write_text("order_id,position\nc,5\n")
    assert (instants_column(path), list(read_instants(path))) == ("position", [("c", 5)])
