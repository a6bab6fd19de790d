"""The log on a real Postgres: one order, no gaps, whatever its writers do."""

from __future__ import annotations

import multiprocessing
import random
import re
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError
from sqlalchemy import Engine, text

from domain.event_store import LogRestored
from domain.identifiers import shard_of
from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from tests.support.postgres.log_events import events_of
from tests.support.reports.proofs import whole
from tests.support.servers.stopped_writer import QUICK, stopped_in_copy
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually

EVENTS = 100_000 if whole() else 8_000
WRITERS = 8
BATCH = 50


def contiguous(engine: Engine) -> int:
    """Number of events, after checking that position, seq and version have no gaps and follow commit order."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT position, stream, shard, seq, aggregate_id, version, recorded_at FROM events ORDER BY position"
            )
        ).all()
        head = read_head(connection)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert head.position == len(rows)
    for of in (lambda r: (r.stream, r.shard), lambda r: r.aggregate_id):
        numbers: dict[Any, list[int]] = {}
        for row in rows:
            numbers.setdefault(of(row), []).append(row.version if of(row) == row.aggregate_id else row.seq)
        assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    times = [row.recorded_at for row in rows]
    assert times == sorted(times)
    return len(rows)


class _Rollback(Exception):
    pass


def _writer(url: str, number: int, events: int, seed: int) -> None:
    """One process: batches for its own riders, every tenth rolled back after all is written."""
    engine = writer_engine(url)
    chance = random.Random(seed)
    failing = False

    def clock() -> int:
        # Called inside the lock, just before the rows are written.
        return 1_790_000_000_000 + chance.randrange(1000)

    class Recorder(EventRecorder):
        def _cover(self, connection: Any, last: int) -> int:
            end = super()._cover(connection, last)
            if failing:
                connection.execute(text("UPDATE log_numbers SET position = position + 1000"))
                raise _Rollback
            return end

    recorder = Recorder(engine, partition_rows=5_000, clock=clock)
    written = 0
    versions = [0] * 10
    while written < events:
        rider = chance.randrange(10)
        batch = events_of(f"writer-{number}-{rider}", versions[rider] + 1, BATCH)
        failing = chance.random() < 0.1
        try:
            recorder.insert_events(batch)
        except _Rollback:
            continue
        versions[rider] += BATCH
        written += BATCH
    engine.dispose()


@pytest.mark.proof
def test_invariant_1_eight_writers_with_rollbacks_leave_one_order_without_holes(
    postgres_url: str, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_create_logical_replication_slot('order_proof', 'test_decoding')"))
    context = multiprocessing.get_context("spawn")
    share = EVENTS // WRITERS
    writers = [context.Process(target=_writer, args=(postgres_url, n, share, n)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=scaled_s(600))
        assert writer.exitcode == 0
    assert contiguous(engine) == share * WRITERS
    with engine.connect() as connection:
        changes = connection.execute(text("SELECT data FROM pg_logical_slot_get_changes('order_proof', NULL, NULL)"))
        found = [re.search(r'INSERT: "position"\[bigint\]:(\d+)', data) for (data,) in changes]
        wal = [int(match[1]) for match in found if match]
        connection.commit()
        connection.execute(text("SELECT pg_drop_replication_slot('order_proof')"))
    assert wal == list(range(1, share * WRITERS + 1))


def test_invariant_1_a_rollback_leaves_no_hole(engine: Engine) -> None:
    recorder = EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 3))
    with pytest.raises(IntegrityError):
        recorder.insert_events(events_of("ben", 1, 2) + events_of("anna", 3, 1))
    assert recorder.insert_events(events_of("anna", 4, 1)) == [4]
    assert contiguous(engine) == 4


@pytest.mark.parametrize("versions", [[2], [1, 3], [1, 1], [0], [1, 2, 4]])
def test_versions_that_do_not_follow_are_refused(engine: Engine, versions: list[int]) -> None:
    batch = [events_of("anna", version, 1)[0] for version in versions]
    with pytest.raises(IntegrityError):
        EventRecorder(engine).insert_events(batch)
    assert contiguous(engine) == 0


def test_two_recorders_see_each_others_events_without_asking_for_each_rider(engine: Engine) -> None:
    one, other = EventRecorder(engine), EventRecorder(engine)
    for version in range(1, 6):
        (one if version % 2 else other).insert_events(events_of("anna", version, 1))
    with pytest.raises(IntegrityError):
        one.insert_events(events_of("anna", 5, 1))
    assert contiguous(engine) == 5


def test_a_recorder_whose_log_was_restored_to_an_older_state_notices(engine: Engine) -> None:
    recorder = EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 5))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events WHERE position > 2"))
        seqs = f'{{"Rider": {[2 if s == shard_of("anna") else 0 for s in range(64)]}}}'
        connection.execute(text("UPDATE log_numbers SET position = 2, seqs = CAST(:seqs AS jsonb)"), {"seqs": seqs})
    with pytest.raises(IntegrityError):
        recorder.insert_events(events_of("anna", 6, 1))
    assert recorder.insert_events(events_of("anna", 3, 1)) == [3]
    assert contiguous(engine) == 3


def test_invariant_14_a_writer_notices_a_restored_log_that_has_overtaken_what_it_has_seen(engine: Engine) -> None:
    recorder, other = EventRecorder(engine), EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 5))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM events WHERE position > 2"))
        seqs = f'{{"Rider": {[2 if s == shard_of("anna") else 0 for s in range(64)]}}}'
        connection.execute(text("UPDATE log_numbers SET position = 2, seqs = CAST(:seqs AS jsonb)"), {"seqs": seqs})
    other.insert_events(events_of("ben", 1, 9))
    # To the first one anna is at version 5, and the head is beyond what it has seen.
    with pytest.raises(LogRestored):
        recorder.append(events_of("anna", 6, 1), lambda stale: events_of("anna", 6, 1))
    assert recorder.append(events_of("anna", 3, 1), lambda stale: events_of("anna", 3, 1)).positions == range(12, 13)
    assert contiguous(engine) == 12


def test_invariant_14_a_writer_notices_a_log_that_is_restored_again_before_its_next_append(engine: Engine) -> None:
    recorder, other = EventRecorder(engine), EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 5))
    for left, name in ((3, "ben"), (2, "carl")):
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM events WHERE position > :left"), {"left": left})
            seqs = f'{{"Rider": {[left if s == shard_of("anna") else 0 for s in range(64)]}}}'
            connection.execute(
                text("UPDATE log_numbers SET position = :left, seqs = CAST(:seqs AS jsonb)"),
                {"left": left, "seqs": seqs},
            )
        other.insert_events(events_of(name, 1, 9))
        with pytest.raises(LogRestored):
            recorder.append(events_of("anna", 6, 1), lambda stale: events_of("anna", 6, 1))
    assert recorder.append(events_of("anna", 3, 1), lambda stale: events_of("anna", 3, 1)).positions == range(12, 13)
    assert contiguous(engine) == 12


def test_regression_a_writer_that_notices_a_restored_log_makes_the_partitions_that_it_has_lost(engine: Engine) -> None:
    recorder = EventRecorder(engine, partition_rows=10)
    recorder.insert_events(events_of("anna", 1, 2))
    recorder.insert_events(events_of("anna", 3, 30))
    with engine.begin() as connection:  # as it was after the first two
        connection.execute(text("DELETE FROM events WHERE position > 2"))
        made = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass ORDER BY 1"
        for name in connection.execute(text(made)).scalars().all()[1:]:
            connection.execute(text(f"DROP TABLE {name}"))
        seqs = f'{{"Rider": {[2 if s == shard_of("anna") else 0 for s in range(64)]}}}'
        connection.execute(text("UPDATE log_numbers SET position = 2, seqs = CAST(:seqs AS jsonb)"), {"seqs": seqs})
    with pytest.raises(LogRestored):
        recorder.append(events_of("anna", 3, 1), lambda stale: events_of("anna", 3, 1))
    for version in range(3, 41):
        recorder.append(events_of("anna", version, 1), lambda stale: [])
    assert contiguous(engine) == 40


def test_invariant_11_recorded_at_never_steps_back_with_the_clock(engine: Engine) -> None:
    times = iter([1_790_000_005_000, 1_790_000_001_000, 1_790_000_009_000])
    recorder = EventRecorder(engine, clock=lambda: next(times))
    for version in (1, 2, 3):
        recorder.insert_events(events_of("anna", version, 1))
    with engine.connect() as connection:
        found = connection.execute(text("SELECT extract(epoch FROM recorded_at) FROM events ORDER BY position"))
        assert [int(row[0] * 1000) for row in found] == [1_790_000_005_000, 1_790_000_005_000, 1_790_000_009_000]


def test_partitions_are_made_ahead_of_need(engine: Engine) -> None:
    recorder = EventRecorder(engine, partition_rows=10)
    for number in range(12):
        recorder.insert_events(events_of(f"rider-{number}", 1, 5))
    recorder.insert_events(events_of("big", 1, 95))
    assert contiguous(engine) == 155
    with engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass"))
        assert count.scalar_one() >= 16


def test_a_writer_stopped_inside_the_lock_is_thrown_out(postgres_url: str, engine: Engine) -> None:
    with engine.connect() as connection:
        bounds = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("transaction_timeout", "idle_in_transaction_session_timeout", "lock_timeout")
        }
    assert bounds == {
        "transaction_timeout": "30s",
        "idle_in_transaction_session_timeout": "10s",
        "lock_timeout": "20s",
    }


def test_a_lock_that_is_not_given_is_an_operational_error(engine: Engine) -> None:
    recorder = EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 1))
    with engine.connect() as holder, holder.begin():
        holder.execute(text("SELECT FROM log_head FOR UPDATE"))
        impatient = writer_engine(engine.url.render_as_string(hide_password=False))
        with impatient.connect() as connection:
            connection.execute(text("SET lock_timeout = '100ms'"))
            connection.commit()
        with pytest.raises(OperationalError):
            EventRecorder(impatient).insert_events(events_of("anna", 2, 1))
        impatient.dispose()


def test_regression_a_writer_stopped_in_the_middle_of_its_copy_does_not_hold_the_log_for_ever(
    postgres_url: str, engine: Engine
) -> None:
    """No time-out of the server ends it; who has waited for the log in vain does."""
    EventRecorder(engine).insert_events(events_of("anna", 1, 1))
    zombie, other = writer_engine(postgres_url, timeouts=QUICK), writer_engine(postgres_url, timeouts=QUICK)
    recorder = EventRecorder(other)

    def recorded() -> bool:
        try:
            return recorder.insert_events(events_of("anna", 2, 1)) is not None
        except OperationalError:
            return False

    with stopped_in_copy(zombie, "SELECT FROM log_head FOR UPDATE"):
        eventually(recorded, within_s=20, what="another writer has the log")
    assert contiguous(engine) == 2
    for one in (zombie, other):
        one.dispose()


def test_regression_what_the_server_refuses_in_a_copy_is_an_error_of_the_port(engine: Engine) -> None:
    """COPY goes past SQLAlchemy: a full disk, or a server that died in it, was answered with 500 instead of 503."""
    recorder = EventRecorder(engine)
    recorder.insert_events(events_of("anna", 1, 3))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE events ADD CONSTRAINT refused CHECK (false) NOT VALID"))
    with pytest.raises(IntegrityError, match="refused"):
        recorder.insert_events(events_of("anna", 4, 3))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE events DROP CONSTRAINT refused"))
    recorder.insert_events(events_of("anna", 4, 3))
    assert contiguous(engine) == 6


def test_regression_a_lock_on_the_table_does_not_stop_appends_while_the_last_partition_has_room(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """An ANALYZE or a VACUUM by hand holds it for as long as it takes, and the next partition cannot be attached."""
    recorder = EventRecorder(engine, partition_rows=100)
    recorder.insert_events(events_of("anna", 1, 40))

    def partitions() -> int:
        with engine.connect() as connection:
            count = text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")
            return int(connection.execute(count).scalar_one())

    before = partitions()
    maintenance = reader_engine(engine.url.render_as_string(hide_password=False))
    with maintenance.connect() as connection, connection.begin():
        connection.execute(text("LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE"))
        for version in range(41, 91):
            recorder.insert_events(events_of("anna", version, 1))
    maintenance.dispose()
    assert partitions() == before
    warnings = [record for record in caplog.records if "next partition of events is not created yet" in record.message]
    assert len(warnings) == 1, "it is not tried again for each append"
    # Where there is no room, it is waited for.
    recorder.insert_events(events_of("anna", 91, 200))
    assert partitions() > before
    assert contiguous(engine) == 290
