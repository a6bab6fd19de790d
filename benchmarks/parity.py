"""Recomputes served speeds from the event store on one core. The cost depends on how the reads spread over the log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

from benchmarks.support import START_MS, postgres, ready_events, report
from domain.events.contracts import Codec
from domain.features.speed.window import SpeedState
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.postgres.served_reads import PostgresServedReads, add
from infrastructure.postgres.snapshots import PostgresStateSnapshots
from infrastructure.process_pool import tune_gc
from projections.core.fold import Fold
from projections.digest.digest import view_digest
from projections.parity.audit import Audit
from projections.parity.served_reads import ReadVerdict, ServedRead
from projections.replay.source import ReplaySource
from projections.speed import SPEED
from read_models.speed.view import VIEW
from read_models.view import ViewLimits, body_of
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

EVENTS = 100_000
RIDERS = 500


def reads_of(engine: Engine, every: int, times: int) -> list[ServedRead]:
    """Every ``every``th event's answer, ``times`` times over."""
    archive, limits, found = PostgresArchive(engine), ViewLimits(), []
    fold = Fold(SPEED, Codec(LocalSchemaIds()).decode, lambda: 0)
    states: dict[str, SpeedState] = {}
    for rider in range(RIDERS):
        for event in archive.key_range("Rider", f"rider-{rider}", 0, EVENTS, None):
            states |= fold.run([event], states.get, (), ()).states
            if event.version % every:
                continue
            features = VIEW.features(states[event.key])
            for n in range(times):
                at_ms = START_MS + 100 * EVENTS + n
                body = body_of(VIEW.row(event.key, features, at_ms, limits, True) | {"generation": 1})
                found.append(ServedRead(event.key, 1, event.version, event.position, at_ms, limits, True, body))
    return found


def rate(engine: Engine, reads: Sequence[ServedRead]) -> tuple[float, float]:
    """Reads recorded per second, and reads checked per second, including recording their verdicts."""
    with engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE served_reads, checkpoints")
    began = time.perf_counter()
    for first in range(0, len(reads), 2_000):
        add(engine, SPEED.name, view_digest(SPEED), reads[first : first + 2_000])
    logged = len(reads) / (time.perf_counter() - began)
    stored = PostgresServedReads(engine, SPEED.name)
    checkpoints = PostgresStateSnapshots(engine, SPEED)
    audit: Audit[Any] = Audit(
        ReplaySource(SPEED, PostgresArchive(engine), Codec(LocalSchemaIds()).decode), checkpoints, stored
    )
    began = time.perf_counter()
    found = audit.run(stored.scan(0))
    checked = len(reads) / (time.perf_counter() - began)
    assert found.totals[ReadVerdict.EQUAL] == len(reads), found
    return logged, checked


def main() -> None:
    tune_gc()
    with postgres() as url:
        writer = writer_engine(url)
        recorder, events = EventRecorder(writer), ready_events(EVENTS, RIDERS, apart_ms=100)
        for first in range(0, EVENTS, 1_000):
            recorder.insert_events(events[first : first + 1_000])
        writer.dispose()
        engine = reader_engine(url)
        PostgresGenerations(engine).first(SPEED)
        logged, each = rate(engine, reads_of(engine, 1, 1))
        _, five = rate(engine, reads_of(engine, 2, 5))
        _, sparse = rate(engine, reads_of(engine, 100, 1))
        engine.dispose()
    report(
        "parity of served speeds",
        {
            "put on record, reads/s": logged,
            "every version read once, reads/s": each,
            "every second version read five times, reads/s": five,
            "two reads a rider, 100 events apart, reads/s": sparse,
        },
    )


if __name__ == "__main__":
    main()
