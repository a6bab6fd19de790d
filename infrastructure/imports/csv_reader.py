"""Reads CSV files of pings as a stream of rows: finds the columns and converts the cells to pings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from infrastructure.client.messages import encode
from infrastructure.errors import UserError
from infrastructure.imports.csv_files import BadCell, check_length, number, read_header, records_below_header
from infrastructure.timestamps import text_ms

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "rider": ("rider_id", "rider"),
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "time": ("event_timestamp_ms",),
}
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("accuracy_meters",),
    "speed": ("speed_mps",),
    "event-id": ("event_id",),
    # No default name: a file that happens to have such a column must not become a backfill by accident.
    "recorded-at": (),
    "mock": ("is_mock",),
}


class CsvColumns(NamedTuple):
    """The index of each column in a row; None means that the file has no such column."""

    rider: int
    latitude: int
    longitude: int
    time: int
    accuracy: int | None = None
    speed: int | None = None
    event_id: int | None = None
    recorded_at: int | None = None
    mock: int | None = None


def known_names(names: Mapping[str, str | None]) -> set[str]:
    """The names that columns may have: the default names and those that the user gave."""
    usual = {name for each in (*REQUIRED.values(), *OPTIONAL.values()) for name in each}
    return usual | {name for name in names.values() if name}


def find_columns(header: Sequence[str], names: Mapping[str, str | None], file: str) -> CsvColumns:
    """Find the columns of ``file``. ``names`` holds the user's column names, by the keys of REQUIRED and OPTIONAL.

    Raises UserError that lists the existing columns and names the option to use.
    """
    titles = [title.strip() for title in header]
    found = {
        what: _index(titles, _wanted(names, what, usual), file) for what, usual in {**REQUIRED, **OPTIONAL}.items()
    }
    missing = [what for what, index in found.items() if index is None and (what in REQUIRED or names.get(what))]
    if missing:
        wanted = ", ".join(" or ".join(_wanted(names, what, {**REQUIRED, **OPTIONAL}[what])) for what in missing)
        options = ", ".join("--recorded-at" if what == "recorded-at" else f"--{what}-column" for what in missing)
        raise UserError(f"{file} has no column {wanted}; it has {', '.join(titles)}: name the right one with {options}")
    rider, latitude, longitude, time, *optional = found.values()
    assert rider is not None
    assert latitude is not None
    assert longitude is not None
    assert time is not None
    return CsvColumns(rider, latitude, longitude, time, *optional)


def _wanted(names: Mapping[str, str | None], what: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    named = names.get(what)
    return (named,) if named else usual


def _index(titles: Sequence[str], wanted: tuple[str, ...], file: str) -> int | None:
    for name in wanted:
        if titles.count(name) > 1:
            raise UserError(f"{file} has {titles.count(name)} columns named {name}: rename all but one of them")
        if name in titles:
            return titles.index(name)
    return None


_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1


def ping_of_cells(cells: Sequence[str], columns: CsvColumns) -> dict[str, Any]:
    """The ping of a row, ready for ``POST /pings``. Only types are checked here; the server validates the values.

    An empty optional cell is left out. Raises BadCell.
    """
    ping: dict[str, Any] = {
        "rider_id": _filled(cells, columns.rider, "rider"),
        "latitude": number(_filled(cells, columns.latitude, "latitude"), "latitude"),
        "longitude": number(_filled(cells, columns.longitude, "longitude"), "longitude"),
        "event_timestamp_ms": _time_ms(_filled(cells, columns.time, "time"), "time"),
    }
    accuracy = _cell(cells, columns.accuracy)
    if accuracy:
        ping["accuracy_meters"] = number(accuracy, "accuracy")
    speed = _cell(cells, columns.speed)
    if speed:
        ping["speed_mps"] = number(speed, "speed")
    event_id = _cell(cells, columns.event_id)
    if event_id:
        ping["event_id"] = event_id
    mock = _cell(cells, columns.mock)
    if mock:
        ping["is_mock"] = _boolean(mock, "mock")
    return ping


def reception_ms(cells: Sequence[str], columns: CsvColumns) -> int | None:
    """When the row's ping was received, in epoch milliseconds; None if there is no such column. Raises BadCell."""
    if columns.recorded_at is None:
        return None
    return _time_ms(_filled(cells, columns.recorded_at, "reception"), "reception")


def _boolean(cell: str, what: str) -> bool:
    """Raises BadCell."""
    found = {"true": True, "1": True, "false": False, "0": False}.get(cell.lower())
    if found is None:
        raise BadCell(f"{what} is none of true, false, 1 and 0: {cell[:40]!r}")
    return found


def _time_ms(cell: str, what: str) -> int:
    """Epoch milliseconds from an integer or an RFC 3339 time with zone. Raises BadCell."""
    try:
        value = text_ms(cell)
    except ValueError as error:
        raise BadCell(f"{what} is neither epoch milliseconds nor RFC 3339 with zone: {cell[:40]!r} ({error})") from None
    if not _MIN_INT64 <= value <= _MAX_INT64:
        raise BadCell(f"{what} does not fit 64 bits: {cell[:40]!r}")
    return value


def _cell(cells: Sequence[str], index: int | None) -> str:
    return cells[index].strip() if index is not None and index < len(cells) else ""


def _filled(cells: Sequence[str], index: int, what: str) -> str:
    # The rider's id is compared as given: the server decides about its spaces.
    cell = cells[index] if index < len(cells) else ""
    if not cell.strip():
        raise BadCell(f"{what} is missing")
    return cell if what == "rider" else cell.strip()


class CsvSource(NamedTuple):
    """A CSV file whose columns have been found."""

    path: Path
    header: tuple[str, ...]
    columns: CsvColumns


class ImportRow(NamedTuple):
    """One row. It has either ``item``, the ping as JSON, or ``problem``, the reason why it cannot be sent.

    ``line`` is the last of the row's lines in the file, counted from 1. ``time_ms`` is None if unknown;
    ``received_ms`` is None if unknown or not requested.
    """

    source: CsvSource
    line: int
    cells: Sequence[str]
    item: bytes | None
    time_ms: int | None
    problem: str
    received_ms: int | None = None


def open_source(path: Path, names: Mapping[str, str | None]) -> CsvSource:
    """Open a file and find its columns. Raises UserError if it cannot be read or a column is missing."""
    header = read_header(path, known_names(names))
    return CsvSource(path, header, find_columns(header, names, str(path)))


def rows(source: CsvSource, at_byte: Callable[[int], None] = lambda position: None) -> Iterator[ImportRow]:
    """Yield every row below the header; empty lines are skipped. ``at_byte`` is called with the bytes read so far.

    A line that is not a valid row, for example with a quote that is never closed, becomes a row with a problem, and
    the rest of the file is still read. Raises UserError with the line number if the file itself is damaged.
    """
    for record in records_below_header(source, at_byte):
        if record.problem:
            yield ImportRow(source, record.first_line, (), None, None, record.problem)
        else:
            yield to_row(source, record.last_line, record.cells)


def to_row(source: CsvSource, line: int, cells: Sequence[str]) -> ImportRow:
    """The row with these cells."""
    try:
        check_length(cells, source.header)
        ping = ping_of_cells(cells, source.columns)
        received_ms = reception_ms(cells, source.columns)
        return ImportRow(source, line, cells, encode(ping), ping["event_timestamp_ms"], "", received_ms)
    except BadCell as error:
        return ImportRow(source, line, cells, None, None, str(error))
    except UnicodeEncodeError:
        return ImportRow(source, line, cells, None, None, "the text is not UTF-8")
