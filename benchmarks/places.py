"""Reads where all riders were at random instants, on each axis, beside reading them one by one.

python -m benchmarks.places [events] [--riders 1000] [--every 4] [--folder FOLDER]

``--folder`` keeps the log: the next run with as many events reads it. Each rider pings every ``--every`` seconds, so
``events`` decides how long the log is. Times are those of the read in this process, without HTTP. On a machine with
other work they are mostly waiting; the CPU is that of a read, here and in all processes of Postgres. Reads along a
rider's day: python -m benchmarks.time_travel 0 --sizes 17280
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from benchmarks.cpu import by_process, postmaster_of, used_s
from benchmarks.results import at_most
from benchmarks.support import START_MS, postgres, report
from domain.events.contracts import Codec
from domain.gps_ping import parse_ping, record_of
from domain.identifiers import aggregate_id
from infrastructure.errors import UserError
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.replay.past_reads import PastKeys
from infrastructure.replay.rider_places import RiderPlaces
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from projections.locations import LOCATIONS
from projections.replay.as_of import AsOf

READS: Final = 30
ONE_BY_ONE: Final = 50
"""Riders that are read one by one; the time of all follows from theirs."""
BATCH: Final = 2_000
TARGET_MS: Final = 300.0

_HOURS: Final = """
INSERT INTO projection_generations (projection, generation, fold_version, fold_digest, active, state)
VALUES ('analytics', 1, 1, '', true, 'following');
INSERT INTO rider_hours SELECT 1, r, h, 0, 60, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0
FROM unnest(CAST(:riders AS text[])) r, unnest(CAST(:hours AS timestamptz[])) h
"""


def fill(url: str, riders: Sequence[str], events: int, every_ms: int) -> int:
    """Write the pings, received when they were sent, and the hours that say who rode. Returns the last instant."""
    now = [START_MS]
    engine = writer_engine(url)
    recorder = EventRecorder(engine, clock=lambda: now[0])
    codec = Codec(schema_ids(Settings(postgres_url=url), reader_engine(url)))
    chance = random.Random(1)
    gap_ms = every_ms / len(riders)
    for first in range(0, events, BATCH):
        batch = []
        for number in range(first, min(first + BATCH, events)):
            key = riders[number % len(riders)]
            at_ms = START_MS + round(number * gap_ms)
            item = {
                "rider_id": key,
                "latitude": 52.5 + (number % 1000) / 1e5,
                "longitude": 13.4,
                "event_timestamp_ms": at_ms,
                "accuracy_meters": 5,
                "event_id": str(UUID(int=chance.getrandbits(128), version=4)),
            }
            ping = parse_ping(item, at_ms)
            payload = codec.encode("GpsPing", record_of(ping))
            identity = (aggregate_id("Rider", key), number // len(riders) + 1, "GpsPing", payload, "Rider", key)
            batch.append(LogEvent(*identity, UUID(ping.event_id), at_ms))
            now[0] = at_ms
        recorder.insert_events(batch)
    begin = datetime.fromtimestamp(START_MS / 1000, UTC).replace(minute=0, second=0, microsecond=0)
    hours = [begin + timedelta(hours=n) for n in range((now[0] - START_MS) // 3_600_000 + 2)]
    with engine.begin() as connection:
        for statement in _HOURS.split(";\n"):
            connection.execute(text(statement), {"riders": list(riders), "hours": hours} if ":r" in statement else {})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return now[0]


def recorded(url: str, events: int) -> int:
    """The last instant of the log that an earlier run left, 0 if it is empty. Raises UserError for another log."""
    with reader_engine(url).connect() as connection:
        found, last = connection.execute(text("SELECT count(*), max(recorded_at) FROM events")).one()
    if found not in (0, events):
        raise UserError(f"the folder has a log of {found:,} events, not of {events:,}: name an empty one")
    return round(last.timestamp() * 1000) if found else 0


def measured(url: str, riders: Sequence[str], events: int, last_ms: int) -> dict[str, Any]:
    engine = reader_engine(url)
    codec = Codec(schema_ids(Settings(postgres_url=url), engine))
    places, one = RiderPlaces(engine, codec.decode), PastKeys(engine, LOCATIONS, codec.decode, None)
    server = postmaster_of(engine)
    figures: dict[str, Any] = {}
    for axis in ("event", "known", "position"):
        chance = random.Random(events)
        took, worked, served = [], time.process_time(), by_process(server)
        for _ in range(READS):
            # The first minutes and the last have fewer pings around them than any other.
            at_ms = chance.randrange(START_MS + 60_000, max(last_ms - 300_000, START_MS + 60_001))
            as_of = {
                "event": AsOf.happened(at_ms),
                "known": AsOf.known(at_ms),
                "position": AsOf.at_position(max(1, round(events * (at_ms - START_MS) / (last_ms - START_MS)))),
            }[axis]
            began = time.perf_counter()
            found = places.at(as_of)
            took.append((time.perf_counter() - began) * 1000)
            assert len(found.riders) == len(riders), (axis, len(found.riders))
        here_ms = (time.process_time() - worked) * 1000 / READS
        postgres_ms = used_s(served, by_process(server)) * 1000 / READS
        began = time.perf_counter()
        for rider in riders[:ONE_BY_ONE]:
            one.at(rider, as_of)
        single_ms = (time.perf_counter() - began) * 1000 * len(riders) / min(ONE_BY_ONE, len(riders))
        name = f"{len(riders):,} riders, axis {axis}"
        figures[f"{name}: p50, ms"] = statistics.median(took)
        figures[f"{name}: p95, ms"] = sorted(took)[int(0.95 * len(took))]
        figures[f"{name}: CPU here, ms"] = here_ms
        figures[f"{name}: CPU of Postgres, ms"] = postgres_ms
        figures[f"{name}: one by one, ms"] = single_ms
        figures[f"{name}: one by one ÷ p50"] = single_ms / statistics.median(took)
    return figures


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.places")
    parser.add_argument("events", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--riders", type=int, default=1_000)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two pings of a rider")
    parser.add_argument("--folder", type=Path, help="keeps the log, or has it from an earlier run; default: a new one")
    options = parser.parse_args(arguments)
    riders = [f"rider-{number:05}" for number in range(options.riders)]
    with postgres(options.folder) as url:
        last_ms = recorded(url, options.events) or fill(url, riders, options.events, round(options.every * 1000))
        figures = measured(url, riders, options.events, last_ms)
    targets = {label: at_most(TARGET_MS) for label in figures if label.endswith("p95, ms")}
    report(f"places of riders, {options.events:,} events", figures, targets)


if __name__ == "__main__":
    main(sys.argv[1:])
