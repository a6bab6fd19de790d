"""A writer's clock that is ahead of the database's (issue 13, 22)."""

from __future__ import annotations

import time

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy import Engine, text

from domain.event_store import ClockAhead
from domain.events.contracts import Codec
from domain.riders.application import Riders
from infrastructure.event_store.aggregates import EventStoreFactory, SnapshotRecorder
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.log_head import LogHeadRow, read_head
from infrastructure.event_store.log_reader import PostgresHistory
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.http.errors import HANDLERS
from infrastructure.http.pings import pings_route
from infrastructure.ingest.group_commit import GroupCommit
from projections.replay.as_of import AsOf, Unresolvable
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds
from tests.support.postgres.log_events import events_of

DAY_MS = 86_400_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def head_of(engine: Engine) -> LogHeadRow:
    with engine.connect() as connection:
        return read_head(connection)


def test_regression_a_writer_whose_clock_is_a_day_ahead_records_nothing_and_says_why(engine: Engine) -> None:
    ahead_ms = 0
    recorder = EventRecorder(engine, clock=lambda: now_ms() + ahead_ms)
    recorder.append(events_of("anna", 1, 1), lambda stale: [])
    ahead_ms = DAY_MS
    with pytest.raises(ClockAhead, match=r"86,[34]\d\d s ahead of the database's, nothing was recorded: set the clock"):
        recorder.append(events_of("anna", 2, 1), lambda stale: [])
    assert head_of(engine).position == 1
    assert head_of(engine).clock_ahead_ms < 1_000
    ahead_ms = 0
    recorder.append(events_of("anna", 2, 1), lambda stale: [])
    assert head_of(engine).position == 2
    # What was known just now is known at once, and not tomorrow.
    assert PostgresArchive(engine).horizon(AsOf.known(head_of(engine).recorded_at_ms)).position == 2


@pytest.mark.parametrize(("ahead_s", "recorded"), [(4 * 60, True), (6 * 60, False), (-DAY_MS // 1000, True)])
def test_five_minutes_ahead_are_borne_and_so_is_a_clock_that_is_behind(
    engine: Engine, ahead_s: int, recorded: bool
) -> None:
    recorder = EventRecorder(engine, clock=lambda: now_ms() + ahead_s * 1000)
    if recorded:
        recorder.insert_events(events_of("anna", 1, 1))
        assert head_of(engine).clock_ahead_ms == pytest.approx(max(0, ahead_s * 1000), abs=30_000)
    else:
        with pytest.raises(ClockAhead):
            recorder.insert_events(events_of("anna", 1, 1))
    assert head_of(engine).position == recorded


def test_history_that_names_its_times_is_recorded_whatever_the_clock_says(engine: Engine) -> None:
    recorder = EventRecorder(engine, clock=lambda: now_ms() + DAY_MS)
    history = [recorder.with_recorded_at(event, 1_700_000_000_000) for event in events_of("anna", 1, 3)]
    assert recorder.append(history, lambda stale: []).positions == range(1, 4)
    assert head_of(engine).recorded_at_ms == 1_700_000_000_000


def test_regression_a_reader_whose_clock_is_a_day_ahead_does_not_move_the_clock_of_the_log(engine: Engine) -> None:
    EventRecorder(engine).insert_events(events_of("anna", 1, 1))
    before = head_of(engine)
    reader = PostgresArchive(engine, lambda: now_ms() + DAY_MS)
    with pytest.raises(Unresolvable) as refused:
        reader.horizon(AsOf.known(now_ms() + DAY_MS // 2))
    assert refused.value.code == "instant_in_future"
    assert head_of(engine).recorded_at_ms == before.recorded_at_ms


def test_the_head_is_read_with_the_clock_of_the_database(engine: Engine) -> None:
    with engine.connect() as connection:
        database_ms = float(
            connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000")).scalar_one()
        )
    assert head_of(engine).database_ms == pytest.approx(database_ms, abs=30_000)


def test_regression_pings_of_a_node_whose_clock_is_a_day_ahead_are_answered_with_503_and_one_line(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    ahead_ms = DAY_MS
    recorder = EventRecorder(engine, clock=lambda: now_ms() + ahead_ms)
    factory = EventStoreFactory(recorder, SnapshotRecorder(engine), Codec(LocalSchemaIds()))
    commits = GroupCommit(Riders(factory, PostgresHistory(engine)).record_pings)
    refused: list[tuple[str, int]] = []
    route = pings_route(
        commits.submit,
        max_items=10,
        max_bytes=1_000_000,
        on_answered=lambda _answer: None,
        on_recorded=lambda _device, _ingest: None,
        on_unavailable=lambda why, pings: refused.append((why, pings)),
    )
    ping = {"rider_id": "anna", "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": now_ms()}
    commits.start()
    try:
        with TestClient(
            Litestar([route], exception_handlers=HANDLERS, openapi_config=None, logging_config=None)
        ) as client:
            answer = client.post("/pings", json=[ping])
            assert (answer.status_code, answer.json()["code"]) == (503, "clock_ahead")
            assert "set the clock (NTP)" in answer.json()["detail"]
            assert answer.headers["retry-after"] == "1"
            ahead_ms = 0
            assert client.post("/pings", json=[ping]).json()["accepted"] == 1
    finally:
        commits.stop()
    assert refused == [("clock_ahead", 1)]
    lines = [record.getMessage() for record in caplog.records if record.name == "ridelog.ingest"]
    assert len(lines) == 1
    assert "\n" not in lines[0]
