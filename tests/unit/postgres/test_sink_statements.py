"""The pure half of the Postgres sink: rows as COPY text, SQL from a declaration."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Integer, MetaData, SmallInteger, Table, Text

from infrastructure.postgres.copy_text import copy_text
from infrastructure.postgres.sink_statements import RowStatements
from projections.core.ports import SinkRejected
from read_models.deliveries import tables as deliveries
from read_models.rows import RowTable
from tests.support.worlds.counting_projection import ROWS

UNESCAPED = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


class Color(IntEnum):
    RED = 1


def lines(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [line.split("\t") for line in copy_text(rows).getvalue().decode().split("\n")[:-1]]


def read_back(field: str) -> str:
    """A field as Postgres reads it."""
    characters = iter(field)
    return "".join([UNESCAPED[next(characters)] if c == "\\" else c for c in characters])


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2)))
def test_any_text_is_read_back_and_stays_in_its_line(rows: list[list[str]]) -> None:
    assert [[read_back(field) for field in line] for line in lines(rows)] == rows


def test_each_type_is_written_as_postgres_reads_it() -> None:
    two_hours = timezone(timedelta(hours=2))
    row = [None, True, -7, 2**63, 0.1, Decimal("1.50"), "ü", b"\x00\xff", datetime(2026, 1, 1, 9, tzinfo=two_hours)]
    written = ["\\N", "True", "-7", str(2**63), "0.1", "1.50", "ü", "\\\\x00ff", "2026-01-01T09:00:00+02:00"]
    assert lines([row]) == [written]
    assert lines([[Color.RED]]) == [["1"]]


def test_a_column_may_mix_types_and_no_rows_are_no_text() -> None:
    assert lines([[1, "a"], [None, None], [2, "\\N"]]) == [["1", "a"], ["\\N", "\\N"], ["2", "\\\\N"]]
    assert copy_text([]).getvalue() == b""


def test_the_two_hours_of_a_clock_set_back_stay_two() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    twice = [[datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold)] for fold in (0, 1)]
    assert lines(twice) == [["2026-10-25T02:30:00+02:00"], ["2026-10-25T02:30:00+01:00"]]
    assert lines([[datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]]) == [["2026-10-25T00:30:00+00:00"]]


@pytest.mark.parametrize(
    "rows",
    [[["\ud800"]], [[1j]], [[object()]], [[datetime(2026, 1, 1)]], [[1, 2], [1]]],  # noqa: DTZ001 (what is refused)
)
def test_what_cannot_be_copied_is_refused(rows: list[list[Any]]) -> None:
    with pytest.raises(SinkRejected, match="cannot be copied"):
        copy_text(rows)


def test_sums_are_added_and_latest_values_replace_unless_null() -> None:
    upsert = RowStatements(ROWS).upsert
    assert upsert.startswith(
        'INSERT INTO "counted" AS t (generation, "shard", "key", "hour", "seen", "small", "last")'
        ' SELECT %s, "shard", "key", "hour", "seen", "small", "last" FROM "new_counted"'
        ' ON CONFLICT ("generation", "shard", "key", "hour") DO UPDATE SET '
    )
    assert upsert.split(" SET ")[1].split(", ", 2) == [
        '"seen" = t."seen" + excluded."seen"',
        '"small" = t."small" + excluded."small"',
        '"last" = coalesce(excluded."last", t."last")',
    ]


def test_without_sums_a_change_replaces_the_whole_row_and_a_null_too() -> None:
    (table,) = deliveries.TABLES
    merges = RowStatements(table).upsert.split(" SET ")[1].split(", ")
    assert merges == [f'"{name}" = excluded."{name}"' for name in table.latest]


def test_names_are_quoted_and_the_unique_columns_are_those_of_the_primary_key() -> None:
    table = Table(
        'of "all"',
        MetaData(),
        Column("generation", Integer, primary_key=True),
        Column("order", Text, primary_key=True),
        Column("shard", SmallInteger, nullable=False),
        Column("n", BigInteger, nullable=False),
    )
    statements = RowStatements(RowTable(table, key=("order",), add=("n",)))
    assert 'INSERT INTO "of ""all""" AS t (generation, "shard", "order", "n")' in statements.upsert
    assert 'ON CONFLICT ("generation", "order")' in statements.upsert
    assert statements.copy.startswith('COPY "new_of ""all""" ("shard", "order", "n") FROM STDIN')
