"""Reads any CSV file (plain, gzip or zip) as records of cells, with the errors that a user can act on."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from infrastructure.errors import UserError
from infrastructure.imports.csv_records import CsvRecord, CsvRecords
from infrastructure.imports.spreadsheet_cells import has_shown_cells, read_cells
from infrastructure.imports.text_files import UnreadableFile, open_text

PROGRESS_INTERVAL_RECORDS = 256


class ImportedFile(Protocol):
    """A file whose header has been read."""

    @property
    def path(self) -> Path: ...
    @property
    def header(self) -> tuple[str, ...]: ...


class BadCell(ValueError):
    """A row cannot be used because a cell has no value of the required type. The message names the cell."""


def number(cell: str, what: str) -> float:
    """A decimal number. nan and inf are accepted here, because the rules of the domain reject them by name.

    Raises BadCell.
    """
    # float() alone would also accept 5_3 and digits of other scripts, which no program writes on purpose.
    if cell.isascii() and "_" not in cell:
        try:
            return float(cell)
        except ValueError:
            pass  # falls through to the error below
    hint = " (a decimal comma? write a point)" if "," in cell else ""
    raise BadCell(f"{what} is not a number: {cell[:40]!r}{hint}")


def check_length(cells: Sequence[str], header: Sequence[str]) -> None:
    """Raises BadCell for a row with more cells than the header."""
    if len(cells) > len(header):
        # A comma in a number shifts every later cell by one column: plausible values in the wrong place.
        raise BadCell(f"the row has {len(cells)} cells, the header {len(header)}")


def read_header(path: Path, known_names: Collection[str]) -> tuple[str, ...]:
    """The cells of the first line. ``known_names``: column names by which the delimiter is found.

    Raises UserError if the file cannot be read or is empty.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
    with _reading(path, known_names) as (records, _):
        header = _header(records)
    if header is None:
        raise UserError(f"{path} is empty; its first line must name its columns")
    if header.problem:
        raise UserError(f"the header of {path} cannot be read: {header.problem}")
    return tuple(read_cells(header.cells, header.cells))


def records_below_header(file: ImportedFile, at_byte: Callable[[int], None]) -> Iterator[CsvRecord]:
    """Every record but the header and empty lines. ``at_byte`` is called with the bytes read so far.

    Raises UserError with the line number if the file itself is damaged.
    """
    shown = has_shown_cells(file.header)
    with _reading(file.path, file.header) as (records, raw):
        _header(records)
        for count, record in enumerate(records):
            if record.problem or record.cells:
                yield record._replace(cells=read_cells(record.cells, file.header)) if shown else record
            if count % PROGRESS_INTERVAL_RECORDS == 0:
                at_byte(raw.tell())
        at_byte(raw.tell())


def _header(records: CsvRecords) -> CsvRecord | None:
    return next((record for record in records if record.cells or record.problem), None)


@contextmanager
def _reading(path: Path, known: Collection[str]) -> Iterator[tuple[CsvRecords, BinaryIO]]:
    records: CsvRecords | None = None
    try:
        with ExitStack() as stack:
            text, raw = open_text(stack.enter_context(path.open("rb")), stack)
            records = CsvRecords(text.readline, known)
            yield records, raw
    except UnreadableFile as error:
        raise UserError(f"{path} cannot be imported: {error}") from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError, csv.Error) as error:
        where = f" after line {records.line}" if records is not None and records.line else ""
        raise UserError(f"{path} cannot be read{where}: {error}") from error
