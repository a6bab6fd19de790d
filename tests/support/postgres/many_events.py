"""Pings ready to be inserted, encoded as ingest encodes them: for tests that need a log of some size."""

from __future__ import annotations

from uuid import UUID

from domain.events.contracts import Codec
from domain.gps_ping import parse_ping, record_of
from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent

START_MS = 1_790_000_000_000


def many_events(codec: Codec, count: int, riders: int, prefix: str = "rider", first: int = 0) -> list[LogEvent]:
    """``count`` pings of ``riders`` in turn, a fifth of a second apart for each rider, from its first event on.

    ``first``: how many events of them the log has already.
    """
    events = []
    for number in range(first, first + count):
        key, version = f"{prefix}-{number % riders}", number // riders + 1
        happened_ms = START_MS + version * 200 + number % riders
        item = {
            "rider_id": key,
            "latitude": 52.5 + (number % 1000) / 1e5,
            "longitude": 13.4,
            "event_timestamp_ms": happened_ms,
            "accuracy_meters": 5,
        }
        ping = parse_ping(item, happened_ms)
        payload = codec.encode("GpsPing", record_of(ping))
        identity = (aggregate_id("Rider", key), version, "GpsPing", payload, "Rider", key)
        events.append(LogEvent(*identity, UUID(ping.event_id), ping.event_timestamp_ms))
    return events
