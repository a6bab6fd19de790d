"""Cells of a CSV row as values of a ping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.gps_ping import parse_instant
from infrastructure.client.imports.columns import Columns

_INT64 = range(-(2**63), 2**63)


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
        "event_timestamp_ms": time_ms(_filled(cells, columns.time, "time")),
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
    return time_ms(_filled(cells, columns.recorded_at, "reception"), "reception")


def number(cell: str, what: str) -> float:
    """A decimal number; nan and inf are numbers here, which the server refuses by name. Raises BadCell."""
    # float() alone would also take 5_3 and digits of other scripts, which no GPS logger writes on purpose.
    if cell.isascii() and "_" not in cell:
        try:
            return float(cell)
        except ValueError:
            pass  # falls through to the one refusal below
    raise BadCell(f"{what} is no number: {cell[:40]!r}")


def time_ms(cell: str, what: str = "time") -> int:
    """Epoch milliseconds: an integer, also written as 1.5e12 or 1562345678901.0, or an RFC 3339 time with zone.

    Raises BadCell.
    """
    value = _whole(cell)
    if value is None:
        try:
            value = parse_instant(cell)
        except (ValueError, OverflowError):
            raise BadCell(f"{what} is neither epoch milliseconds nor RFC 3339 with zone: {cell[:40]!r}") from None
    if value not in _INT64:
        raise BadCell(f"{what} does not fit 64 bits: {cell[:40]!r}")
    return value


def _whole(cell: str) -> int | None:
    if not cell.isascii() or "_" in cell or len(cell) > 40:
        return None
    try:
        return int(cell)
    except ValueError:
        pass  # not a plain integer; it may still be one written as a float
    try:
        value = float(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


def _cell(cells: Sequence[str], index: int | None) -> str:
    return cells[index].strip() if index is not None and index < len(cells) else ""


def _filled(cells: Sequence[str], index: int, what: str) -> str:
    # The rider's id is compared as given: its spaces are the server's to refuse.
    cell = cells[index] if index < len(cells) else ""
    if not cell.strip():
        raise BadCell(f"{what} is missing")
    return cell if what == "rider" else cell.strip()
