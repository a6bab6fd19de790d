"""A replay of all keys by parts gives the same rows: aborted and resumed, by any number of workers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from domain.events.contracts import Codec
from domain.features.speed.window import SpeedState
from infrastructure.embedded.postgres import Postgres
from infrastructure.errors import UserError
from infrastructure.event_store.archive import PostgresArchive
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.discards import Discard, record_discard
from infrastructure.postgres.engine import reader_engine, writer_engine
from infrastructure.replay import parquet
from infrastructure.replay.all_keys import merged_rows, parts_of, replay_all
from infrastructure.replay.request import ReplayRequest
from infrastructure.schema_registry.client import schema_ids
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.feature_history import make_history
from infrastructure.training_sets.history_shards import BoundHistory, HistoryRequest
from projections.analytics import ANALYTICS
from projections.digest.digest import fold_digest
from projections.replay.as_of import AsOf, Horizon, Unresolvable
from projections.speed import SPEED
from read_models.speed import view as speed
from read_models.view import ViewLimits
from tests.support.postgres.many_events import START_MS, many_events
from tests.support.servers.servers import fresh_database

EVENTS = 12_000
FOR_PROCESSES = 1_000
"""Above so many events several workers are several processes, as above 50,000 outside of tests."""
LIMITS = ViewLimits()


class Aborted(Exception):
    """Raised by a test to abort a replay in the middle."""


@pytest.fixture(scope="module")
def filled(migrated_postgres: Postgres) -> Iterator[Settings]:
    """A log of 300 riders, all recorded in the past."""
    with fresh_database(migrated_postgres) as url:
        yield fill(url)


def fill(postgres_url: str, count: int = EVENTS, partition_rows: int = 10_000_000) -> Settings:
    settings = Settings(postgres_url=postgres_url)
    writer, reader = writer_engine(postgres_url), reader_engine(postgres_url)
    recorder = EventRecorder(writer, partition_rows=partition_rows, clock=lambda: START_MS + 60_000)
    events = many_events(Codec(schema_ids(settings, reader)), count, riders=300)
    for first in range(0, count, 5_000):
        recorder.insert_events(events[first : first + 5_000])
    writer.dispose()
    reader.dispose()
    return settings


def horizon(settings: Settings, as_of: AsOf) -> Horizon:
    engine = reader_engine(settings.postgres_url or "")
    try:
        return PostgresArchive(engine).horizon(as_of)
    finally:
        engine.dispose()


def test_an_aborted_replay_resumes_and_gives_the_same_rows(filled: Settings, tmp_path: Path) -> None:
    request = ReplayRequest("speed", horizon(filled, AsOf.at_position(EVENTS - 77)), LIMITS, allow_expired=True)
    folded: list[int] = []

    def until(limit: int) -> None:
        def show(done: int, _of: int) -> None:
            folded.append(done)
            if done > limit:
                raise Aborted

        replay_all(filled, SPEED, request, tmp_path / "parts", 1, show)

    with pytest.raises(Aborted):
        until(EVENTS // 2)
    kept = len(list((tmp_path / "parts").glob("[0-9][0-9].json")))
    assert 0 < kept < 64
    folded.clear()
    until(EVENTS)
    assert max(folded[:-1]) < EVENTS * 0.7, "what was done before is not folded again"
    again = replay_all(filled, SPEED, request, tmp_path / "once", 2, lambda done, of: None, min_events=FOR_PROCESSES)
    resumed = replay_all(filled, SPEED, request, tmp_path / "parts", 1, lambda done, of: None)
    assert list(merged_rows(SPEED, resumed, "speed")) == list(merged_rows(SPEED, again, "speed"))
    assert sum(part.events for part in again.parts) == EVENTS - 77
    assert sum(part.keys for part in again.parts) == 300


def test_parts_of_another_request_are_not_mixed_in(filled: Settings, tmp_path: Path) -> None:
    def keys(position: int) -> int:
        request = ReplayRequest("speed", horizon(filled, AsOf.at_position(position)), LIMITS, allow_expired=True)
        output = replay_all(filled, SPEED, request, tmp_path, 1, lambda done, of: None)
        return sum(part.keys for part in output.parts)

    assert keys(1_000) == 300
    assert keys(7) == 7


def other_features(state: SpeedState) -> Any:
    return speed.features(state)


def test_parts_of_other_code_are_not_mixed_in(filled: Settings, tmp_path: Path) -> None:
    """The fold is the same, but the view computes other features."""
    assert SPEED.view is not None
    other = replace(SPEED, view=replace(SPEED.view, features=other_features))
    request = ReplayRequest("speed", horizon(filled, AsOf.at_position(1_000)), LIMITS, allow_expired=True)
    replay_all(filled, other, request, tmp_path, 1, lambda done, of: None)

    def folded() -> list[int]:
        progress: list[int] = []
        replay_all(filled, SPEED, request, tmp_path, 1, lambda done, of: progress.append(done))
        return progress[:-1]

    assert max(folded()) == 1_000
    assert folded() == [], "its own parts are kept"


@pytest.fixture
def small(migrated_postgres: Postgres) -> Iterator[Settings]:
    """A log of 300 riders, for a single test."""
    with fresh_database(migrated_postgres) as url:
        yield fill(url, 2_000)


def discard(settings: Settings, position: int) -> None:
    """Discard an event of the speed projection, as `parked discard` records it."""
    engine = writer_engine(settings.postgres_url or "")
    record_discard(engine, Discard("speed", position, "a rider", "ann", "a broken phone"))
    engine.dispose()


def test_regression_parts_from_before_a_discard_are_not_mixed_in(small: Settings, tmp_path: Path) -> None:
    """A resumed replay still had the rows of an event that a new one skips."""
    request = ReplayRequest("speed", horizon(small, AsOf.at_position(1_900)), LIMITS, allow_expired=True)

    def rows(folder: str) -> list[parquet.Row]:
        output = replay_all(small, SPEED, request, tmp_path / folder, 1, lambda done, of: None)
        return list(merged_rows(SPEED, output, "speed"))

    before = rows("parts")
    discard(small, 1_950)
    inode = (tmp_path / "parts" / "00.json").stat().st_ino
    assert rows("parts") == before
    assert (tmp_path / "parts" / "00.json").stat().st_ino == inode, (
        "a discard beyond the position requires no new parts"
    )
    discard(small, 1_890)
    assert rows("parts") == rows("fresh") != before


def test_regression_a_history_does_not_resume_with_rows_from_before_a_discard(small: Settings, tmp_path: Path) -> None:
    where = horizon(small, AsOf.known(START_MS + 70_000))
    request = HistoryRequest(
        "speed", None, where.at_ms, where.at_ms, 1_000, "known", where.position, *LIMITS, allow_expired=True
    )

    def abort(done: int, of: int) -> None:
        if done == of:
            raise Aborted

    with pytest.raises(Aborted):
        make_history(small, BoundHistory(request, where), tmp_path / "history.parquet", 1, abort)
    discard(small, 1_890)
    made = [
        make_history(small, BoundHistory(request, where), tmp_path / name, 1, lambda done, of: None)
        for name in ("history.parquet", "fresh.parquet")
    ]
    assert made[0] == made[1]


def test_an_aborted_history_resumes_but_not_with_rows_of_other_code(filled: Settings, tmp_path: Path) -> None:
    where = horizon(filled, AsOf.known(START_MS + 70_000))
    request = HistoryRequest(
        "speed", None, where.at_ms, where.at_ms, 1_000, "known", where.position, *LIMITS, allow_expired=True
    )
    out, request_file = tmp_path / "history.parquet", tmp_path / "history.parquet.parts" / "request.json"

    def events_until(limit: int) -> int:
        """Events read before the abort, or all."""
        seen = [0]

        def show(done: int, _of: int) -> None:
            if done > limit:
                raise Aborted
            seen.append(done)

        make_history(filled, BoundHistory(request, where), out, 1, show)
        return max(seen[:-1])

    with pytest.raises(Aborted):
        events_until(EVENTS // 2)
    with pytest.raises(Aborted):
        events_until(EVENTS // 4)
    assert 0 < events_until(EVENTS) < EVENTS // 2, "what was done before is not read again"
    with pytest.raises(Aborted):
        events_until(EVENTS // 2)
    request_file.write_text(request_file.read_text().replace(fold_digest(SPEED), "0" * 32))
    assert events_until(EVENTS) == EVENTS


@pytest.mark.parametrize("keys", [None, ["only-before"]], ids=["all keys", "a key without events"])
@pytest.mark.parametrize("axis", ["known", "event"])
def test_a_history_is_not_made_from_a_log_with_detached_events(
    migrated_postgres: Postgres, tmp_path: Path, axis: Literal["known", "event"], keys: list[str] | None
) -> None:
    """Its rows would show states that no key ever had, or lack those of a key whose events are all gone."""
    with fresh_database(migrated_postgres) as url:
        settings = fill(url, 2_000, partition_rows=500)
        where = horizon(settings, AsOf(axis, START_MS + 70_000))
        engine = writer_engine(url)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE events DETACH PARTITION events_p00000000000000000001"))
        engine.dispose()
        request = HistoryRequest(
            "speed", keys, where.at_ms, where.at_ms, 1_000, axis, where.position, *LIMITS, allow_expired=True
        )
        with pytest.raises(Unresolvable, match="detached"):
            make_history(settings, BoundHistory(request, where), tmp_path / "history.parquet", 1, lambda done, of: None)


def test_two_replays_at_once_do_not_delete_each_others_parts(filled: Settings, tmp_path: Path) -> None:
    out = tmp_path / "rows.parquet"
    with parts_of(out):
        with pytest.raises(UserError, match=r"another process is writing .*rows\.parquet"), parts_of(out):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet.parts"]
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_path_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write"), parts_of(tmp_path / "file" / "rows.parquet"):
        pass
    with pytest.raises(UserError, match="No space left"), parts_of(tmp_path / "rows.parquet"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (tmp_path / "rows.parquet.parts").is_dir(), "what is done is kept"


def test_a_file_that_cannot_be_completed_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").mkdir()
    with pytest.raises(OSError, match="directory"):
        parquet.write(tmp_path / "rows.parquet", {"rider_id": "text"}, [{"rider_id": "anna"}])
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


@pytest.mark.parametrize("value", [1 << 63, "many"])
def test_regression_a_value_that_fits_no_column_is_a_user_error(tmp_path: Path, value: object) -> None:
    """It ended the replay of all keys with a traceback; a store would have rejected it and parked the key."""
    with pytest.raises(UserError, match=r"does not fit its column in rows\.parquet.*parked list"):
        parquet.write(tmp_path / "rows.parquet", {"pings": "integer"}, [{"pings": value}])
    assert list(tmp_path.iterdir()) == []


def test_minutes_of_the_fleet_are_summed_over_shards(filled: Settings, tmp_path: Path) -> None:
    request = ReplayRequest("analytics", horizon(filled, AsOf.at_position(EVENTS)), LIMITS, allow_expired=False)
    output = replay_all(filled, ANALYTICS, request, tmp_path, 2, lambda done, of: None, min_events=FOR_PROCESSES)
    minutes = list(merged_rows(ANALYTICS, output, "fleet_minutes"))
    assert [row["minute"] for row in minutes] == sorted({row["minute"] for row in minutes})
    assert sum(row["pings"] for row in minutes) == EVENTS
    hours = list(merged_rows(ANALYTICS, output, "rider_hours"))
    assert sum(row["distance_mm"] for row in hours) == sum(row["distance_mm"] for row in minutes)


def test_a_history_is_the_same_file_by_any_number_of_workers(filled: Settings, tmp_path: Path) -> None:
    end_ms = START_MS + 40_000
    where = horizon(filled, AsOf.happened(end_ms))
    request = HistoryRequest(
        "speed", None, START_MS, end_ms, 20_000, "event", where.position, *LIMITS, allow_expired=True
    )
    made = [
        make_history(
            filled,
            BoundHistory(request, where),
            tmp_path / f"{workers}.parquet",
            workers,
            lambda done, of: None,
            min_events=FOR_PROCESSES,
        )
        for workers in (1, 2)
    ]
    assert made[0] == made[1]
    assert made[0].rows == pq.read_metadata(tmp_path / "1.parquet").num_rows == 300 * 2
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
