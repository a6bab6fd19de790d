"""Puts an event into the log that stops its key: one that no process can read until its schema is registered, or a ping
whose event id is none."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, text

from domain.events.contracts import Codec, current, frame, split_frame
from domain.gps_ping import GpsPing, parse_ping, record_of
from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

UNKNOWN_SCHEMA = 9_999_001


class Poison:
    """A ping whose payload names a schema that the registry does not know; ``cure`` registers it."""

    def __init__(self, postgres_url: str) -> None:
        self._url = postgres_url
        # Of its own for each poison: what one test registers must not cure the next one's.
        self.schema_id = UNKNOWN_SCHEMA + uuid.uuid4().int % 1_000_000

    def record(self, item: dict[str, Any], received_ms: int) -> int:
        """Append it as the rider's next event, past the API; its position."""
        ping = parse_ping(item, received_ms)
        _, body = split_frame(Codec(LocalSchemaIds()).encode("GpsPing", record_of(ping)))
        return _append(self._url, ping, lambda _: frame(self.schema_id, body))

    def cure(self) -> None:
        """Register the schema: another text of today's contract, under the id that the payload names."""
        schema = {**current("GpsPing").schema, "doc": f"the lost schema {self.schema_id}"}
        engine = reader_engine(self._url)
        with engine.begin() as connection:
            connection.execute(
                text("INSERT INTO schemas (id, fingerprint, schema) VALUES (:id, :mark, :schema)"),
                {"id": self.schema_id, "mark": f"lost-{self.schema_id}", "schema": json.dumps(schema)},
            )
        engine.dispose()


def record_nameless(postgres_url: str, item: dict[str, Any], received_ms: int) -> int:
    """Append a ping whose event id is no UUID, past the API; its position."""
    ping = parse_ping(item, received_ms)

    def payload(engine: Engine) -> bytes:
        ids = schema_ids(Settings(postgres_url=postgres_url), engine)
        return Codec(ids).encode("GpsPing", {**record_of(ping), "event_id": "no UUID"})

    return _append(postgres_url, ping, payload)


def _append(postgres_url: str, ping: GpsPing, payload: Callable[[Engine], bytes]) -> int:
    """As the rider's next event; its position."""
    engine = writer_engine(postgres_url)
    try:
        rider = aggregate_id("Rider", ping.rider_id)
        with engine.connect() as connection:
            version = connection.execute(
                text("SELECT max(version) FROM events WHERE aggregate_id = :rider"), {"rider": rider}
            ).scalar_one()
        event = LogEvent(
            rider,
            version + 1,
            "GpsPing",
            payload(engine),
            "Rider",
            ping.rider_id,
            uuid.UUID(ping.event_id),
            ping.event_timestamp_ms,
        )
        (position,) = EventRecorder(engine).insert_events([event]) or [0]
        return position
    finally:
        engine.dispose()
