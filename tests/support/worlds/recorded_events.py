"""A log in Postgres with real payloads, and an application that serves ``/events`` of it."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from litestar import Litestar
from sqlalchemy import Engine, text

from domain.events.contracts import Codec
from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.event_pages import EventPages
from infrastructure.event_store.log_tail import LogTail
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.http.application import ApiParts, build
from infrastructure.http.event_json import EventEncoder
from infrastructure.http.event_streams import OpenStreams
from infrastructure.http.events import EventReader, events_route
from infrastructure.http.sessions import Sessions
from infrastructure.settings.settings import Settings
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

START_MS = 1_790_000_000_000


class PingLog:
    """Records pings of riders, each at the next version of its rider."""

    def __init__(self, engine: Engine) -> None:
        self.codec = Codec(LocalSchemaIds())
        self._engine = engine
        self._recorder = EventRecorder(engine)
        self._versions: dict[str, int] = {}
        self._count = 0

    def ping(self, *riders: str, payload: bytes | None = None, event_type: str = "GpsPing") -> None:
        """Record one ping of each rider in one transaction; ``payload`` and ``event_type`` replace what it has."""
        self._recorder.insert_events([self._event(rider, payload, event_type) for rider in riders])

    def restore(self, position: int) -> None:
        """Lose all events after ``position``, as a restore of an older backup does."""
        values = {"position": position}
        with self._engine.begin() as connection:
            lost = connection.execute(
                text("DELETE FROM events WHERE position > :position RETURNING aggregate_key"), values
            )
            for rider in lost.scalars():
                self._versions[rider] -= 1
            connection.execute(text("DELETE FROM log_numbers WHERE position > :position"), values)

    def _event(self, rider: str, payload: bytes | None, event_type: str) -> LogEvent:
        self._count += 1
        self._versions[rider] = self._versions.get(rider, 0) + 1
        record: dict[str, Any] = {
            "rider_id": rider,
            "latitude": 52.5,
            "longitude": 13.4,
            "event_timestamp_ms": START_MS + self._count,
            "accuracy_meters": 5.0,
            "speed_mps": None,
            "event_id": str(UUID(int=self._count)),
            "received_timestamp_ms": START_MS + self._count,
            "source_service": "test",
            "is_mock": None,
        }
        return LogEvent(
            aggregate_id("Rider", rider),
            self._versions[rider],
            event_type,
            self.codec.encode("GpsPing", record) if payload is None else payload,
            "Rider",
            rider,
            UUID(int=self._count),
            START_MS + self._count,
        )


async def nothing() -> None:
    """No gauge needs a refresh."""


class EventsApplication:
    """``/events`` over an engine, with streams that ``stop`` ends."""

    def __init__(
        self,
        engine: Engine,
        *,
        max_streams: int = 4,
        heartbeat_s: float = 15.0,
        tokens: str = "",
        sessions: Sessions | None = None,
    ) -> None:
        pages = EventPages(engine)
        self.tail = LogTail(pages, interval_s=0.02)
        self.streams = OpenStreams(max_streams)
        self.streams.call_at_stop(self.tail.wake)
        source = EventReader(pages, self.tail, EventEncoder(Codec(LocalSchemaIds()).decode))
        absent = cast("Any", None)
        route = events_route(source, self.streams, heartbeat_s)
        parts = ApiParts(
            absent, absent, absent, lambda: None, lambda _: None, {}, nothing, routers=[route], sessions=sessions
        )
        self.application: Litestar = build(Settings(tokens=tokens or None), parts)
