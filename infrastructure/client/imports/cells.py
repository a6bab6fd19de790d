"""Cells of a CSV row as values of a ping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infrastructure.client.imports.columns import Columns
from infrastructure.timestamps import text_ms

_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1


class BadCell(ValueError):
    """A row that cannot be sent, for a cell holds no value of the type it needs; the message names the cell."""


def ping_of_cells(cells: Sequence[str], columns: Columns) -> dict[str, Any]:
    """The ping of a row, ready for ``POST /pings``; whether it is a good one is for the server to say.

    An empty optional cell is absent. Raises BadCell.
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
    return ping


def reception_ms(cells: Sequence[str], columns: Columns) -> int | None:
    """When the row's ping was received, epoch milliseconds; None if no column says so. Raises BadCell."""
    if columns.recorded_at is None:
        return None
    return _time_ms(_filled(cells, columns.recorded_at, "reception"), "reception")


def number(cell: str, what: str) -> float:
    """A decimal number; nan and inf are numbers here, which the server refuses by name. Raises BadCell."""
    # float() alone would also take 5_3 and digits of other scripts, which no GPS logger writes on purpose.
    if cell.isascii() and "_" not in cell:
        try:
            return float(cell)
        except ValueError:
            pass  # falls through to the one refusal below
    hint = " (a decimal comma? write a point)" if "," in cell else ""
    raise BadCell(f"{what} is no number: {cell[:40]!r}{hint}")


def _time_ms(cell: str, what: str) -> int:
    """Epoch milliseconds of an integer or of an RFC 3339 time with zone. Raises BadCell."""
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
    # The rider's id is compared as given: its spaces are the server's to refuse.
    cell = cells[index] if index < len(cells) else ""
    if not cell.strip():
        raise BadCell(f"{what} is missing")
    return cell if what == "rider" else cell.strip()
