"""The head of the log: each transaction that assigns numbers adds a row, and old rows are pruned."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from infrastructure.event_store.log_head import KEPT_NUMBERS, LogNotInitialised, lock_head, read_head, write_head
from infrastructure.event_store.recorder import EventRecorder
from tests.support.postgres.log_events import events_of


def numbers(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT number FROM log_numbers ORDER BY number")).scalars())


def test_the_head_counts_the_transactions_that_moved_it(engine: Engine) -> None:
    recorder = EventRecorder(engine)
    before = numbers(engine)[-1]
    for version in (1, 3):
        recorder.insert_events(events_of("anna", version, 2))
    assert numbers(engine)[-2:] == [before + 1, before + 2]
    with engine.begin() as connection:
        head = lock_head(connection)
        assert (head.number, head.position) == (before + 2, 4)
        head.position, head.recorded_at_ms = 9, 1_790_000_000_123
        head.shards_of("Rider")[7] = 5
        write_head(connection, head)
    with engine.connect() as connection:
        found = read_head(connection)
    assert (found.number, found.position, found.recorded_at_ms) == (before + 3, 9, 1_790_000_000_123)
    assert found.shards_of("Rider")[7] == 5


def test_old_rows_are_pruned_in_ranges_and_the_newest_are_kept(engine: Engine) -> None:
    with engine.begin() as connection:
        head = lock_head(connection)
        while head.number < 3 * KEPT_NUMBERS:
            write_head(connection, head)
            rows = connection.execute(text("SELECT count(*) FROM log_numbers")).scalar_one()
            assert rows <= 2 * KEPT_NUMBERS
    assert numbers(engine) == list(range(2 * KEPT_NUMBERS + 1, 3 * KEPT_NUMBERS + 1))


def test_a_database_without_a_head_says_what_to_run(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM log_numbers"))
    with engine.connect() as connection, pytest.raises(LogNotInitialised, match="migrate"):
        read_head(connection)
