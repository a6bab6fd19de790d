"""Raw events written into a real log by an EventRecorder whose clock is what the test says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from domain.events.contracts import Codec
from domain.identifiers import aggregate_id
from infrastructure.event_store.aggregates import LogEvent
from infrastructure.event_store.recorder import EventRecorder
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

CODEC = Codec(LocalSchemaIds())


def write(engine: Engine, raw: Iterable[Mapping[str, Any]], partition_rows: int = 10_000_000) -> None:
    """Each with its ``recorded_ms``, which must not step back; those of one millisecond in one transaction."""
    clock_ms = 0
    recorder = EventRecorder(engine, partition_rows=partition_rows, clock=lambda: clock_ms)
    versions: dict[str, int] = defaultdict(int)
    for recorded_ms, together in groupby(raw, key=lambda one: one["recorded_ms"]):
        clock_ms = recorded_ms
        batch = []
        for one in together:
            rider = one["rider_id"]
            versions[rider] += 1
            batch.append(_event(one, versions[rider]))
        recorder.insert_events(batch)


def _event(raw: Mapping[str, Any], version: int) -> LogEvent:
    kind, rider = raw["event_type"], raw["rider_id"]
    payload = CODEC.encode(kind, raw)
    aggregate = aggregate_id("Rider", rider)
    return LogEvent(aggregate, version, kind, payload, "Rider", rider, UUID(raw["event_id"]), raw["event_timestamp_ms"])
