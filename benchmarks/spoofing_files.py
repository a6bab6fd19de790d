"""Reads CSV files of pings as the events of riders' streams, for the benchmarks of spoofing."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from domain.errors import PingRejected
from domain.features.keyed_event import KeyedEvent
from domain.gps_ping import parse_ping, record_of
from infrastructure.errors import UserError
from infrastructure.imports.csv_reader import CsvSource, open_source, rows

RIDER_COLUMNS = ("rider_id", "rider", "device_id", "track_id")
"""The first that a file has names its rider: a phone on all of its days, where the file says which phone it was."""

RECEPTION_COLUMN = "received_timestamp_ms"
"""Without it, a ping counts as received at its event time, and pings come in the order of time."""

Record = dict[str, Any]


class GpsFile(NamedTuple):
    """The pings of a file by rider, in the order of their reception, and how many rows were rejected, by reason."""

    path: Path
    riders: dict[str, list[Record]]
    rejected: Counter[str]

    @property
    def pings(self) -> int:
        return sum(len(records) for records in self.riders.values())


def read_gps(path: Path, rider_column: str | None = None) -> GpsFile:
    """Read one file. Raises UserError for a file that cannot be read or has no usable columns."""
    riders: dict[str, list[Record]] = defaultdict(list)
    rejected: Counter[str] = Counter()
    for row in rows(_source(path, rider_column)):
        if row.item is None or row.time_ms is None:
            rejected["unreadable"] += 1
            continue
        item = json.loads(row.item)
        # Only here may a rider's name have a slash, as the tracks of MobilityNet have.
        item["rider_id"] = item["rider_id"].replace("/", " ").strip()
        try:
            record = record_of(parse_ping(item, row.received_ms if row.received_ms is not None else row.time_ms))
        except PingRejected as error:
            rejected[error.code] += 1
            continue
        riders[record["rider_id"]].append(record)
    for records in riders.values():
        records.sort(key=lambda record: record["received_timestamp_ms"])
    return GpsFile(path, dict(riders), rejected)


def _source(path: Path, rider_column: str | None) -> CsvSource:
    """The file with its columns. Raises UserError with what the first name that was tried lacks."""
    reasons = []
    for name in (rider_column,) if rider_column else RIDER_COLUMNS:
        try:
            found = open_source(path, {"rider": name})
        except UserError as error:
            reasons.append(error)
            continue
        return open_source(path, {"rider": name, "recorded-at": RECEPTION_COLUMN}) if _received(found) else found
    raise reasons[0]


def _received(source: CsvSource) -> bool:
    return RECEPTION_COLUMN in [title.strip() for title in source.header]


def events_of(rider_id: str, records: Iterable[Record]) -> Iterator[KeyedEvent]:
    """The events of a rider's stream that has these pings alone."""
    for number, record in enumerate(records, start=1):
        yield KeyedEvent(rider_id, number, number, "GpsPing", record)
