"""Puts an event into the log that nobody can read, until its schema is registered."""

from __future__ import annotations

import json
import uuid
from typing import Any

from sqlalchemy import text

from domain.contracts import Codec, LocalSchemaIds, current, frame, split_frame
from domain.gps_ping import parse_ping, record_of
from domain.identifiers import aggregate_id
from infrastructure.event_store.engine import reader_engine, writer_engine
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.event_store.stored import LogEvent

UNKNOWN_SCHEMA = 9_999_001


class Poison:
    """A ping whose payload names a schema that the registry does not know; ``cure`` registers it."""

    def __init__(self, postgres_url: str) -> None:
        self._url = postgres_url
        # Of its own for each poison: what one test registers must not cure the next one's.
        self.schema_id = UNKNOWN_SCHEMA + uuid.uuid4().int % 1_000_000

    def record(self, item: dict[str, Any], received_ms: int) -> int:
        """Append it as the rider's next event, past the API; its position."""
        engine = writer_engine(self._url)
        try:
            rider = aggregate_id("Rider", item["rider_id"])
            with engine.connect() as connection:
                version = connection.execute(
                    text("SELECT max(version) FROM events WHERE aggregate_id = :rider"), {"rider": rider}
                ).scalar_one()
            ping = parse_ping(item, received_ms)
            _, body = split_frame(Codec(LocalSchemaIds()).encode("GpsPing", record_of(ping)))
            event = LogEvent(
                rider,
                version + 1,
                "GpsPing",
                frame(self.schema_id, body),
                "Rider",
                ping.rider_id,
                uuid.UUID(ping.event_id),
                ping.event_timestamp_ms,
            )
            (position,) = EventRecorder(engine).insert_events([event]) or [0]
            return position
        finally:
            engine.dispose()

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
