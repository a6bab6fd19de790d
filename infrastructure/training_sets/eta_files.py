"""Last pass: the rows of one shard of orders, sorted, with the facts and the outcome of each order, as Parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from infrastructure.errors import UserError
from infrastructure.replay.whole_files import unfinished_file, write_whole
from infrastructure.training_sets.eta_rows import FACT_COLUMNS, EtaRow, RowOutcome, arrow_schema
from infrastructure.training_sets.order_life import OrderLabel
from infrastructure.training_sets.order_shards import OrderFiles
from infrastructure.training_sets.spool import SpoolReader

ROW_GROUP = 65_536
_START = EtaRow._fields.index(FACT_COLUMNS[0])
_FACTS = len(FACT_COLUMNS)


class RowsPart(msgspec.Struct, frozen=True):
    """Result of one shard; written when its file is complete. ``name`` is "" for a shard without rows."""

    name: str
    rows: int
    censored: int
    orders: int
    digest: str
    sha256: str


class RowsFiles(NamedTuple):
    """The files of one shard in a folder."""

    folder: Path
    shard: int

    @property
    def part(self) -> Path:
        return self.folder / f"rows-{self.shard:02d}.json"

    @property
    def rows(self) -> Path:
        return self.folder / f"rows-{self.shard:02d}.parquet"


def with_outcome(start: Sequence[Any], end: OrderLabel) -> EtaRow:
    """The whole row. A label may be negative: a phone without network reports a hand-over after it happened."""
    label_s = None
    if end.outcome == RowOutcome.COMPLETED and end.event_ms is not None:
        label_s = (end.event_ms - start[1]) / 1_000.0
    facts, outcome = end[:_FACTS], end[_FACTS:]
    return EtaRow._make((*start[:_START], *facts, *start[_START:], outcome[0], label_s is None, label_s, *outcome[1:]))


def shard_rows(folder: Path, shard: int, chunks: Sequence[SpoolReader]) -> list[EtaRow]:
    """The rows of one shard by order, instant and position. They are in memory: about 2 KB each."""
    ends = {order_id: OrderLabel._make(end) for order_id, end in SpoolReader(OrderFiles(folder, shard).ends).read(0)}
    found = [with_outcome(start, ends[start[0]]) for chunk in chunks for start in chunk.read(shard)]
    found.sort(key=_place)
    return found


def make_rows_part(folder: Path, shard: int, chunks: Sequence[SpoolReader]) -> int:
    """Write the file of one shard, if it has rows, and return their number. Raises OSError, UserError."""
    files = RowsFiles(folder, shard)
    rows = shard_rows(folder, shard, chunks)
    part = RowsPart("", 0, 0, 0, "", "")
    if rows:
        digest = hashlib.sha256()
        for row in rows:
            digest.update(msgspec.json.encode(row))
        _write(files.rows, rows)
        with files.rows.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        censored, orders = sum(row.censored for row in rows), len({row.order_id for row in rows})
        part = RowsPart(files.rows.name, len(rows), censored, orders, digest.hexdigest(), sha256)
    write_whole(files.part, msgspec.json.encode(part))
    return part.rows


def _write(path: Path, rows: Sequence[EtaRow]) -> None:
    schema = arrow_schema()
    unfinished = unfinished_file(path)
    try:
        with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for group in _groups(rows):
                columns = zip(*group, strict=True)
                arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
                writer.write_table(pa.table(arrays, schema=schema), row_group_size=ROW_GROUP)
    except (pa.ArrowException, ArithmeticError, ValueError, TypeError) as error:
        raise UserError(f"a value does not fit its column in {path.name}: {error}; see `parked list`") from error
    unfinished.replace(path)


def _groups(rows: Sequence[EtaRow]) -> Iterator[Sequence[EtaRow]]:
    for first in range(0, len(rows), ROW_GROUP):
        yield rows[first : first + ROW_GROUP]


def _place(row: EtaRow) -> tuple[str, int, int, int]:
    return row.order_id, row.at_ms, row.position, row.served_eta_id or 0
