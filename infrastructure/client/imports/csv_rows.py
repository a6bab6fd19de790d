"""Rows of CSV files, plain, gzip or zip, read as a stream."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from infrastructure.client.batches import encode
from infrastructure.client.imports.cells import BadCell, ping_of_cells, reception_ms
from infrastructure.client.imports.columns import Columns, find_columns, known_names
from infrastructure.client.imports.records import Record, Records
from infrastructure.client.imports.text_files import UnreadableFile, open_text
from infrastructure.user_error import UserError

PROGRESS_EVERY_ROWS = 256


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
    with _reading(path, known_names(names)) as (records, _):
        header = _header(records)
    if header is None:
        raise UserError(f"{path} is empty; its first line must name its columns")
    if header.problem:
        raise UserError(f"the header of {path} cannot be read: {header.problem}")
    return Source(path, tuple(header.cells), find_columns(header.cells, names, str(path)))


def rows(source: Source, at_byte: Callable[[int], None] = lambda position: None) -> Iterator[Row]:
    """Every row below the header; empty lines are none. ``at_byte`` hears how far the file is read.

    A line that makes no row, as one with a quote that is never closed, is a row with a problem: it does not cost the
    rest of the file. Raises UserError with the line when the file itself is broken.
    """
    with _reading(source.path, source.header) as (records, raw):
        _header(records)
        for count, record in enumerate(records):
            if record.problem:
                yield Row(source, record.first_line, (), None, None, record.problem)
            elif record.cells:
                yield to_row(source, record.last_line, record.cells)
            if count % PROGRESS_EVERY_ROWS == 0:
                at_byte(raw.tell())
        at_byte(raw.tell())


def _header(records: Records) -> Record | None:
    return next((record for record in records if record.cells or record.problem), None)


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
def _reading(path: Path, known: Collection[str]) -> Iterator[tuple[Records, BinaryIO]]:
    records: Records | None = None
    try:
        with ExitStack() as stack:
            text, raw = open_text(stack.enter_context(path.open("rb")), stack)
            records = Records(text.readline, known)
            yield records, raw
    except UnreadableFile as error:
        raise UserError(f"{path} cannot be imported: {error}") from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError, csv.Error) as error:
        where = f" after line {records.line}" if records is not None and records.line else ""
        raise UserError(f"{path} cannot be read{where}: {error}") from error
