"""When each position of the log was recorded, in one compact file, so that a million instants need no queries."""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from infrastructure.postgres.errors import unavailable_as_port_error
from infrastructure.replay.whole_files import unfinished_file

PAGE_POSITIONS = 200_000
"""Positions that one short transaction reads."""

_PAGE = (
    "SELECT (extract(epoch FROM recorded_at) * 1000)::bigint AS ms, max(position)"
    " FROM events WHERE position > %s AND position <= %s GROUP BY 1 ORDER BY 1"
)
_LATEST = (
    "SELECT coalesce((extract(epoch FROM max(event_time)) * 1000)::bigint, 0)"
    " FROM events WHERE position > %s AND position <= %s"
)


def write_log_clock(engine: Engine, position: int, path: Path, page_positions: int = PAGE_POSITIONS) -> None:
    """Write the clock of the log up to ``position``, one entry a millisecond. Raises PortUnavailable, OSError."""
    times, positions = array("q"), array("q")
    for page in _pages(engine, _PAGE, position, page_positions):
        for ms, last in page:
            if times and times[-1] == ms:  # a millisecond that two pages share
                positions[-1] = last
            else:
                times.append(ms)
                positions.append(last)
    unfinished = unfinished_file(path)
    with unfinished.open("wb") as file:
        times.tofile(file)
        positions.tofile(file)
    unfinished.replace(path)


def latest_sent_ms(engine: Engine, position: int) -> int:
    """The latest event time, as sent, of the log up to ``position``; 0 without events. Raises PortUnavailable."""
    return max((row[0] for page in _pages(engine, _LATEST, position, PAGE_POSITIONS) for row in page), default=0)


def _pages(engine: Engine, statement: str, position: int, page_positions: int) -> Iterator[Sequence[Any]]:
    for after in range(0, position, page_positions):
        values = (after, min(after + page_positions, position))
        with unavailable_as_port_error(), engine.connect() as connection:
            yield connection.exec_driver_sql(statement, values).cursor.fetchall()


class LogClock:
    """Reads a clock that ``write_log_clock`` wrote. The file is mapped, so processes share its memory."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file = path.open("rb")
        size = path.stat().st_size
        data = memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"").cast("q")
        self._times, self._positions = data[: len(data) // 2], data[len(data) // 2 :]

    def position_by(self, at_ms: int) -> int:
        """The last position recorded by ``at_ms`` (epoch ms, inclusive); 0 before the first."""
        place = bisect_right(self._times, at_ms)
        return self._positions[place - 1] if place else 0

    def recorded_ms(self, position: int) -> int | None:
        """When a position was recorded; None for one that the log does not have."""
        # Recording times never step back over positions (invariant 11), so the positions ascend too.
        place = bisect_right(self._positions, position - 1)
        return self._times[place] if position >= 1 and place < len(self._times) else None
