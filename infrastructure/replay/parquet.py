"""Writes and reads rows as Parquet files. The same rows give the same bytes, with the same version of the library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, LargeBinary, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeEngine

from domain.timestamps import epoch_ms
from infrastructure.errors import UserError
from infrastructure.replay.whole_files import give_name, unfinished_file
from read_models.rows import RowChange, RowTable
from read_models.view import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 65_536
Row = Mapping[str, Any]


def row_columns(table: RowTable) -> dict[str, ColumnType]:
    """Columns of a read model's table, each with its type: its key, then its sums and latest values."""
    return {name: _type_of(table.table.c[name].type) for name in (*table.key, *table.add, *table.latest)}


def _type_of(column: TypeEngine[Any]) -> ColumnType:
    if isinstance(column, TIMESTAMP):
        return "instant"
    if isinstance(column, Text):
        return "text"
    if isinstance(column, LargeBinary):
        return "bytes"
    return "float" if isinstance(column, Double) else "integer"


def row_of(table: RowTable, change: RowChange) -> Row:
    """One row with the columns of ``row_columns``."""
    latest = change.latest if change.latest is not None else (None,) * len(table.latest)
    names = (*table.key, *table.add, *table.latest)
    return dict(zip(names, (*change.key, *change.add, *latest), strict=True))


def schema(columns: Mapping[str, ColumnType]) -> pa.Schema:
    import pyarrow as pa

    types = {"text": pa.string(), "float": pa.float64(), "integer": pa.int64(), "bytes": pa.binary()}
    types["instant"] = pa.timestamp("ms", tz="UTC")
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


class ParquetWriter:
    """Writes rows in groups of ROW_GROUP; the file gets its name only when it is complete, and only its owner reads it.

    ``add`` and ``close`` raise UserError for a value that does not fit its column, such as an integer of over 64 bits.
    """

    def __init__(self, path: Path, columns: Mapping[str, ColumnType]) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._unfinished = unfinished_file(path)
        self._schema = schema(columns)
        self._columns: dict[str, list[Any]] = {name: [] for name in columns}
        self._writer = pq.ParquetWriter(self._unfinished, self._schema, compression="zstd")
        self.rows = 0

    def add(self, row: Row) -> None:
        for name, values in self._columns.items():
            values.append(row[name])
        self.rows += 1
        if self.rows % ROW_GROUP == 0:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        give_name(self._unfinished, self._path)

    def abandon(self) -> None:
        """Delete the unfinished file."""
        # On a full disk, closing the file fails like the write before.
        with suppress(OSError):
            self._writer.close()
        self._unfinished.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        if any(self._columns.values()):
            try:
                table = pa.table(self._columns, schema=self._schema)
            except (pa.ArrowException, ArithmeticError, ValueError, TypeError) as error:
                raise UserError(
                    f"a value does not fit its column in {self._path.name}: {error}; see `parked list`: a store parks "
                    "the key of a rejected value, which a replay does not know"
                ) from error
            self._writer.write_table(table)
        for values in self._columns.values():
            values.clear()


def write(path: Path, columns: Mapping[str, ColumnType], rows: Iterable[Row]) -> int:
    """Write all ``rows``; return their number."""
    writer = ParquetWriter(path, columns)
    try:
        for row in rows:
            writer.add(row)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    return writer.rows


def read(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Read the rows of the files in order, a group at a time; times as epoch milliseconds."""
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROW_GROUP):
                for row in batch.to_pylist():
                    yield {n: epoch_ms(v) if isinstance(v, datetime) else v for n, v in row.items()}
