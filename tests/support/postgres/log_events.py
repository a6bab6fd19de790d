"""Events for the log's own tests, which do not look into their payloads."""

from __future__ import annotations

from uuid import UUID

from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent


def events_of(key: str, first: int, count: int, payload: bytes = b"x" * 90) -> list[LogEvent]:
    """``count`` events of the rider ``key`` from version ``first`` on."""
    aggregate = aggregate_id("Rider", key)
    return [
        LogEvent(aggregate, version, "GpsPing", payload, "Rider", key, UUID(int=version), 1_790_000_000_000 + version)
        for version in range(first, first + count)
    ]
