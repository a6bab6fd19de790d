"""Which rows of a file may enter the log, by the rules of ``POST /pings`` as they were when the row was received."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from domain.errors import InvalidType, TimestampInFuture
from domain.gps_ping import parse_ping
from infrastructure.backfill.runs import Entry
from infrastructure.client.imports.csv_rows import Row

_DECODER = msgspec.json.Decoder()


def judged(row: Row, file: int, now_ms: int) -> Entry:
    """The row's ping, in the ``file``-th file, received when the row says; ``now_ms`` is the machine's clock.

    Raises one of the PingRejected errors.
    """
    if row.item is None or row.received_ms is None:
        raise InvalidType(row.problem or "reception is missing")
    if row.received_ms > now_ms:
        # recorded_at never lies ahead of the clock: all that is recorded live afterwards would have to be as late.
        raise TimestampInFuture("its reception lies after the clock of this machine")
    ping = parse_ping(_decoded(row.item), row.received_ms)
    cells = tuple(cell.encode("utf-8", "surrogateescape") for cell in row.cells)
    return Entry(row.received_ms, file, row.line, ping, cells)


def _decoded(item: bytes) -> Any:
    try:
        return _DECODER.decode(item)
    except msgspec.DecodeError:
        # NaN and Infinity, which are refused by name.
        return json.loads(item)
