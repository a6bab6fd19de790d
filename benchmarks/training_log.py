"""Makes a long log for `training_set`: one simulated city, recorded by backfill, and each of its events once a twin.

python -m benchmarks.training_log FOLDER [--events 10000000] [--twins 20]

A twin has its own riders and orders, whose ids are as long; its events have the same bytes otherwise. So the simulator
and the aggregates run once for all twins, and the log has its positions, seqs, versions and indexes as any other. It is
valid after each batch: an abort leaves a shorter log, which `training_set` takes and the next run of the same command
continues.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, text

from benchmarks.training_set import fill
from domain.identifiers import aggregate_id
from domain.recorded_events import AGGREGATE_OF
from domain.timestamps import epoch_ms
from infrastructure.backends import Backends, open_backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.postgres_cluster import create_database
from infrastructure.errors import UserError
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.migrations import upgrade
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings

PAGE_EVENTS = 2_000
PROGRESS_EVENTS = 200_000
PREFIXES = ("rider-", "order-")
"""How the simulator's ids begin."""
_PAGE = text(
    "SELECT position, stream, aggregate_key, version, event_type, event_id, event_time, recorded_at, command_id,"
    " caused_by, payload FROM events WHERE position > :after ORDER BY position LIMIT :limit"
)


def twin_prefix(prefix: str, twin: int) -> str:
    """The beginning of a twin's ids, as long as ``prefix``: the payload is not encoded again."""
    return f"{prefix[0]}{twin:0{len(prefix) - 2}}-"


class Twins:
    """Renames the riders and orders of an event."""

    def __init__(self, count: int) -> None:
        pairs = [[(prefix, twin_prefix(prefix, twin)) for prefix in PREFIXES] for twin in range(count)]
        self._names = [[(old.encode(), new.encode()) for old, new in of_twin] for of_twin in pairs]
        self._prefixes = [dict(of_twin) for of_twin in pairs]
        self._keys: dict[tuple[int, str, str], tuple[UUID, str]] = {}

    def of(self, event: LogEvent) -> Iterator[LogEvent]:
        """The event of each twin."""
        for twin, names in enumerate(self._names):
            payload = event.state
            for old, new in names:
                payload = payload.replace(old, new)
            aggregate, key = self._key(twin, event.aggregate_type, event.aggregate_key)
            yield LogEvent(
                aggregate,
                event.originator_version,
                event.topic,
                payload,
                event.aggregate_type,
                key,
                event.event_id,
                event.event_time_ms,
                event.recorded_at_ms,
                event.command_id,
                event.caused_by,
            )

    def _key(self, twin: int, aggregate_type: str, key: str) -> tuple[UUID, str]:
        found = self._keys.get((twin, aggregate_type, key))
        if found is None:
            renamed = self._prefixes[twin][key[: len(PREFIXES[0])]] + key[len(PREFIXES[0]) :]
            found = self._keys[twin, aggregate_type, key] = (aggregate_id(aggregate_type, renamed), renamed)
        return found


def events_of(engine: Engine, after: int) -> Iterator[list[LogEvent]]:
    """Pages of a log, by position, after a position."""
    while True:
        with engine.connect() as connection:
            rows = connection.execute(_PAGE, {"after": after, "limit": PAGE_EVENTS}).all()
        if not rows:
            return
        after = rows[-1].position
        yield [
            LogEvent(
                aggregate_id(row.stream, row.aggregate_key),
                row.version,
                row.event_type,
                bytes(row.payload),
                row.stream,
                row.aggregate_key,
                row.event_id,
                epoch_ms(row.event_time),
                epoch_ms(row.recorded_at),
                row.command_id,
                row.caused_by,
            )
            for row in rows
        ]


def _ids(backends: Backends) -> dict[str, int]:
    ids = schema_ids(backends.settings, backends.engine)
    return {record: ids.id_of(record) for record in AGGREGATE_OF}


def make(server: Postgres, events: int, twins: int) -> int:
    """Record about so many events. Returns the last position.

    A log that an earlier run left is continued. Raises UserError if no run with as many twins has made it.
    """
    city = server.database_url("city")
    upgrade(server.url)
    with open_backends(Settings(postgres_url=server.url)) as backends:
        recorded, schemas = backends.log.head("Rider").position, _ids(backends)
    # One transaction has all twins of its events, so what was recorded is a whole number of events of the city.
    if recorded % twins:
        raise UserError(
            f"the folder has a log of {recorded:,} events, which is not of {twins} twins: name an empty one"
        )
    if not recorded:
        create_database(server.database_url("postgres"), "city")
        upgrade(city)
        with open_backends(Settings(postgres_url=city)) as backends:
            if _ids(backends) != schemas:
                raise RuntimeError("the two databases have other schema ids: the payloads would be unreadable")
        fill(Settings(postgres_url=city), -(-events // twins))
    source, target = reader_engine(city), writer_engine(server.url)
    recorder, names, began, first = EventRecorder(target), Twins(twins), time.monotonic(), recorded
    for page in events_of(source, recorded // twins):
        # The events of one instant of the city stay together: times of recording never step back.
        recorder.insert_events([twin for event in page for twin in names.of(event)])
        before, recorded = recorded, recorded + len(page) * twins
        if recorded // PROGRESS_EVENTS > before // PROGRESS_EVENTS:
            seconds = time.monotonic() - began
            sys.stderr.write(f"recorded {recorded:,} events, {recorded - first:,} of them in {seconds:,.0f} s\n")
    source.dispose()
    target.dispose()
    return recorded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--twins", type=int, default=20)
    given = parser.parse_args()
    server = Postgres(given.folder)
    server.start()
    try:
        sys.stdout.write(f"{make(server, given.events, given.twins):,} events in {given.folder}\n")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
