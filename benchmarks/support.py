"""Helpers for the benchmarks: separate servers, and ready events."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import UUID

from benchmarks.results import report
from domain.events.contracts import Codec
from domain.gps_ping import parse_ping, record_of
from domain.identifiers import aggregate_id
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.tansu import Tansu
from infrastructure.embedded.valkey import Valkey
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.postgres.migrations import upgrade
from infrastructure.settings.postgres_url import sqlalchemy_url
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

__all__ = ["START_MS", "kafka", "postgres", "ready_events", "redis_server", "report", "server_of"]

START_MS = 1_790_000_000_000


@contextmanager
def postgres(folder: Path | None = None) -> Iterator[str]:
    """URL of a migrated database on a separate server, with the settings that ``serve`` gives it.

    ``folder``: keeps the server's files, and has them already at the second run; None: a temporary one.
    """
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as kept:
        server = Postgres(Path(kept))
        server.start()
        try:
            upgrade(server.url)
            yield server.url
        finally:
            server.stop()


def server_of(url: str) -> tuple[str, str]:
    """Host and port of a database, for a driver that takes no URL."""
    at = sqlalchemy_url(url)
    # A folder with a Unix socket is given as an option of the URL.
    return at.host or str(at.query["host"]), str(at.port or at.query.get("port", 5432))


@contextmanager
def redis_server() -> Iterator[str]:
    """URL of a separate embedded Valkey."""
    with tempfile.TemporaryDirectory() as folder:
        server = Valkey(Path(folder))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


@contextmanager
def kafka() -> Iterator[str]:
    """host:port of a separate embedded broker."""
    with tempfile.TemporaryDirectory() as folder:
        server = Tansu(Path(folder))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


def ready_events(count: int, riders: int = 500, apart_ms: int = 1) -> list[LogEvent]:
    """Pings of ``riders`` riders as events that are ready to be inserted, encoded as ingest encodes them.

    All go north, 1.1 m from ping to ping: with 100 ms between pings they ride at 11 m/s, with less they jump.
    """
    codec = Codec(LocalSchemaIds())
    events = []
    for number in range(count):
        key, version = f"rider-{number % riders}", number // riders + 1
        item = {
            "rider_id": key,
            "latitude": 52.5 + (number % 1000) / 1e5,
            "longitude": 13.4,
            "event_timestamp_ms": START_MS + number * apart_ms,
            "accuracy_meters": 5,
        }
        ping = parse_ping(item, START_MS + number * apart_ms)
        payload = codec.encode("GpsPing", record_of(ping))
        events.append(
            LogEvent(
                aggregate_id("Rider", key),
                version,
                "GpsPing",
                payload,
                "Rider",
                key,
                UUID(ping.event_id),
                ping.event_timestamp_ms,
            )
        )
    return events
