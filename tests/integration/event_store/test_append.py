"""One append: what is stored of each event, and what happens where another writer was first."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from sqlalchemy import Engine, event, text

from domain.identifiers import aggregate_id, shard_of
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import reader_engine, writer_engine
from tests.support.postgres.log_events import events_of

ANNA, BEN = aggregate_id("Rider", "anna"), aggregate_id("Rider", "ben")
NOW_MS = 1_790_000_000_500


def recorded(engine: Engine) -> list[tuple[int, str, int]]:
    """Position, key and version of each event."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT position, aggregate_key, version FROM events ORDER BY position"))
        return [(row[0], row[1], row[2]) for row in rows]


def test_every_column_of_an_event_is_stored_as_it_was_given(engine: Engine) -> None:
    plain = replace(events_of("anna", 1, 1, b"\x00\xff")[0], event_id=UUID(int=77), event_time_ms=1_790_000_000_123)
    caused = replace(plain, originator_version=2, event_id=UUID(int=78), command_id="a command", caused_by=UUID(int=5))
    commanded = replace(plain, originator_version=3, event_id=UUID(int=79), command_id="another")
    followed = replace(plain, originator_version=4, event_id=UUID(int=80), caused_by=UUID(int=6))
    EventRecorder(engine, clock=lambda: NOW_MS).insert_events([plain, caused, commanded, followed])
    columns = (
        "position, stream, shard, seq, aggregate_id, aggregate_type, aggregate_key, version, event_type, payload,"
        " (extract(epoch FROM event_time) * 1000)::bigint, (extract(epoch FROM recorded_at) * 1000)::bigint,"
        " event_id, command_id, caused_by"
    )
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM events ORDER BY position"))]
    expected = [
        (n, "Rider", shard_of("anna"), n, ANNA, "Rider", "anna", n, "GpsPing", b"\x00\xff", 1_790_000_000_123, NOW_MS)
        for n in (1, 2, 3, 4)
    ]
    causes = [
        (UUID(int=77), None, None),
        (UUID(int=78), "a command", UUID(int=5)),
        (UUID(int=79), "another", None),
        (UUID(int=80), None, UUID(int=6)),
    ]
    assert [(*row[:9], bytes(row[9]), *row[10:]) for row in rows] == [
        (*one, *cause) for one, cause in zip(expected, causes, strict=True)
    ]


def test_a_batch_that_another_writer_preceded_is_decided_again_as_a_whole(engine: Engine) -> None:
    one, other = EventRecorder(engine), EventRecorder(engine)
    one.insert_events(events_of("anna", 1, 1))
    other.insert_events(events_of("anna", 2, 1))
    stale: list[set[UUID]] = []

    def redecide(conflicts: set[UUID]) -> list[object]:
        stale.append(conflicts)
        # More aggregates than before: their versions are looked up too.
        return [*events_of("anna", 3, 2), *events_of("carl", 1, 1), *events_of("ben", 1, 1)]

    batch = [*events_of("ben", 1, 1), *events_of("anna", 2, 1)]
    found = one.append(batch, redecide)  # type: ignore[arg-type]
    assert stale == [{ANNA}]
    assert found.positions == range(3, 7)
    assert recorded(engine)[2:] == [(3, "anna", 3), (4, "anna", 4), (5, "carl", 1), (6, "ben", 1)]


def test_a_batch_of_which_nothing_is_left_when_it_is_decided_again_records_nothing(engine: Engine) -> None:
    one, other = EventRecorder(engine), EventRecorder(engine)
    one.insert_events(events_of("anna", 1, 1))
    other.insert_events(events_of("anna", 2, 1))
    found = one.append(events_of("anna", 2, 1), lambda stale: [])
    assert (found.positions, list(found.events)) == (range(0), [])
    assert recorded(engine) == [(1, "anna", 1), (2, "anna", 2)]
    assert one.append(events_of("anna", 3, 1), lambda stale: []).positions == range(3, 4)


def test_a_decision_that_conflicts_again_is_an_error_and_records_nothing(engine: Engine) -> None:
    one, other = EventRecorder(engine), EventRecorder(engine)
    one.insert_events(events_of("anna", 1, 1))
    other.insert_events(events_of("anna", 2, 1))
    # A stream of this log begins with version 1: a redecided one must too.
    for wrong in (events_of("anna", 2, 1), events_of("carl", 0, 1), events_of("carl", 2, 1)):
        with pytest.raises(IntegrityError, match="1 aggregate"):
            one.append(events_of("anna", 2, 1), lambda stale, wrong=wrong: wrong)  # type: ignore[misc]
    assert recorded(engine) == [(1, "anna", 1), (2, "anna", 2)]


def test_plain_events_of_the_library_may_begin_with_version_0_or_1(engine: Engine) -> None:
    recorder = EventRecorder(engine)
    first, second, third = UUID(int=1), UUID(int=2), UUID(int=3)
    assert recorder.insert_events([StoredEvent(first, 0, "t", b""), StoredEvent(first, 1, "t", b"")]) == [1, 2]
    assert recorder.insert_events([StoredEvent(second, 1, "t", b"")]) == [3]
    with pytest.raises(IntegrityError):
        recorder.insert_events([StoredEvent(third, 2, "t", b"")])


def test_a_writer_looks_up_what_it_does_not_know_before_it_takes_the_lock(engine: Engine) -> None:
    """All other writers wait for the lock: a look-up within it would slow them too."""
    EventRecorder(engine).insert_events(events_of("anna", 1, 1))
    recorder, statements = EventRecorder(engine), []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, sql, *_: statements.append(sql))

    def kinds() -> list[str]:
        """The statements since the last call, as far as they are a look-up of versions or the lock."""
        known = {"FOR UPDATE": "lock", "ORDER BY e.version DESC": "versions"}
        found = [kind for sql in statements for part, kind in known.items() if part in sql]
        statements.clear()
        return found

    recorder.insert_events(events_of("anna", 2, 1))
    assert kinds() == ["versions", "lock"]
    recorder.insert_events(events_of("ben", 1, 1))
    assert kinds() == ["versions", "lock"]
    recorder.insert_events([*events_of("anna", 3, 1), *events_of("ben", 2, 1)])
    assert kinds() == ["lock"]


def test_an_empty_batch_records_nothing_and_asks_the_server_nothing(engine: Engine) -> None:
    unreachable = writer_engine("postgresql://nobody@127.0.0.1:1/nothing")
    recorder = EventRecorder(unreachable)
    assert recorder.insert_events([]) == []
    assert recorder.append([], lambda stale: []).positions == range(0)
    unreachable.dispose()


def test_a_batch_with_more_aggregates_than_a_writer_remembers_is_checked_against_all_of_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = EventRecorder(engine)
    monkeypatch.setattr(recorder._versions, "_maxsize", 3)
    keys = [f"rider-{n}" for n in range(8)]
    recorder.insert_events([events_of(key, 1, 1)[0] for key in keys])
    recorder.insert_events([events_of(key, 2, 1)[0] for key in keys])
    for key in (keys[0], keys[-1]):
        with pytest.raises(IntegrityError):
            recorder.insert_events([*(events_of(one, 3, 1)[0] for one in keys if one != key), *events_of(key, 4, 1)])
    assert len(recorded(engine)) == 16


def test_the_last_position_of_the_log_is_none_while_it_is_empty(engine: Engine) -> None:
    recorder = EventRecorder(engine)
    assert recorder.max_notification_id() is None
    recorder.insert_events(events_of("anna", 1, 3))
    assert recorder.max_notification_id() == 3


def test_regression_a_connection_that_is_lost_before_the_events_are_copied_is_named_as_the_reason(
    engine: Engine, postgres_url: str
) -> None:
    other = reader_engine(postgres_url)
    ended: list[bool] = []

    def ending_the_writer() -> int:
        """The clock, which is read inside the lock just before the events are copied."""
        if not ended:
            with other.connect() as connection:
                lock_holders = text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE pid IN (SELECT pid FROM pg_locks WHERE relation = 'log_head'::regclass)"
                )
                ended.extend(row[0] for row in connection.execute(lock_holders))
        return NOW_MS

    recorder = EventRecorder(engine, clock=ending_the_writer)
    with pytest.raises(OperationalError, match=r"server closed the connection|terminating connection"):
        recorder.insert_events(events_of("anna", 1, 1))
    assert ended == [True]
    recorder.insert_events(events_of("anna", 1, 1))
    other.dispose()
    assert recorded(engine) == [(1, "anna", 1)]
