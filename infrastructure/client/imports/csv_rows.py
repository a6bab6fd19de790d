"""Rows of CSV files, plain or gzip, read as a stream."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from infrastructure.client.batches import encode
from infrastructure.client.imports.cells import BadCell, ping_of_cells, reception_ms
from infrastructure.client.imports.columns import Columns, find_columns
from infrastructure.user_error import UserError

GZIP_MAGIC = b"\x1f\x8b"


class CsvReader(Protocol):
    """What ``csv.reader`` makes; its class has no public name."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


class Source(NamedTuple):
    """One file whose columns are known."""

    path: Path
    header: tuple[str, ...]
    columns: Columns


class Row(NamedTuple):
    """One row. Either ``item``, the ping as JSON, or ``problem``: why it cannot be sent.

    ``line`` is the last of the row's lines in the file, counted from 1; ``time_ms`` None: unknown;
    ``received_ms`` None: unknown, or not asked for.
    """

    source: Source
    line: int
    cells: Sequence[str]
    item: bytes | None
    time_ms: int | None
    problem: str
    received_ms: int | None = None


def open_source(path: Path, names: Mapping[str, str | None]) -> Source:
    """The file with its columns. Raises UserError if it cannot be read or lacks one."""
    if not path.is_file():
        raise UserError(f"{path} is no file" if path.exists() else f"{path} does not exist")
    with _reading(path) as (reader, _):
        header = _header(reader)
    if not header:
        raise UserError(f"{path} is empty; its first line must name its columns")
    return Source(path, tuple(header), find_columns(header, names, str(path)))


def rows(source: Source, at_byte: Callable[[int], None] = lambda position: None) -> Iterator[Row]:
    """Every row below the header; empty lines are none. ``at_byte`` hears how far the file is read.

    Lines that make no row, as after a quote that is never closed, are one row with a problem: they do not cost the
    rest of the file. Raises UserError with the line when the file itself is broken.
    """
    with _reading(source.path) as (reader, raw):
        _header(reader)
        while True:
            begins = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                problem = f"no row from line {begins} on: {error}; is a quote left open?"
                yield Row(source, reader.line_num, (), None, None, problem)
                continue
            if cells:
                yield to_row(source, reader.line_num, cells)
            if reader.line_num % 256 == 0:
                at_byte(raw.tell())
        at_byte(raw.tell())


def _header(reader: CsvReader) -> list[str]:
    return next((cells for cells in reader if cells), [])


def to_row(source: Source, line: int, cells: Sequence[str]) -> Row:
    """The row of these cells."""
    try:
        if len(cells) > len(source.header):
            # A comma in a number moves every later cell one column on: plausible values, in the wrong place.
            raise BadCell(f"the row has {len(cells)} cells, the header {len(source.header)}")
        ping = ping_of_cells(cells, source.columns)
        received_ms = reception_ms(cells, source.columns)
        return Row(source, line, cells, encode(ping), ping["event_timestamp_ms"], "", received_ms)
    except BadCell as error:
        return Row(source, line, cells, None, None, str(error))
    except UnicodeEncodeError:
        return Row(source, line, cells, None, None, "the text is not UTF-8")


@contextmanager
def _reading(path: Path) -> Iterator[tuple[CsvReader, BinaryIO]]:
    reader: CsvReader | None = None
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            zipped = raw.peek(2)[:2] == GZIP_MAGIC
            binary = stack.enter_context(gzip.GzipFile(fileobj=raw)) if zipped else raw
            # Undecodable bytes are kept as they are: the row is refused by name, not the whole file.
            text = stack.enter_context(
                io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")
            )
            reader = csv.reader(text)
            yield reader, raw
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        where = f" after line {reader.line_num}" if reader is not None and reader.line_num else ""
        raise UserError(f"{path} cannot be read{where}: {error}") from error
