"""The checkpoint of a relay in Postgres: it moves up only, in its own log only, and its table stays small."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.cdc.relay_checkpoint import (
    MAX_ATTEMPTS,
    STORED_CHECKPOINTS,
    ForeignLog,
    RelayCheckpoint,
    RelayCheckpointStore,
)
from infrastructure.event_store.log_head import read_head
from infrastructure.postgres.engine import writer_engine
from tests.support.postgres.many_events import START_MS

TOPICS = {"gps-pings": "an id"}
ANOTHER_LOG = UUID(int=5)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """A database whose log ends at position 1,000."""
    engine = writer_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO log_numbers (number, position, recorded_at, seqs)"
                " SELECT max(number) + 1, 1000, to_timestamp(:seconds), '{}' FROM log_numbers"
            ),
            {"seconds": START_MS / 1000},
        )
    yield engine
    engine.dispose()


@pytest.fixture
def log_id(engine: Engine) -> UUID:
    with engine.connect() as connection:
        return read_head(connection).log_id


def rows(engine: Engine, name: str) -> list[int]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT number FROM relay_marks WHERE name = :name ORDER BY 1"), {"name": name})
        return [row.number for row in found]


def test_there_is_none_at_first(engine: Engine) -> None:
    store = RelayCheckpointStore(engine, "tailer")
    assert store.read() is None
    store.save_topic_ids(TOPICS)
    assert store.read() is None


def test_a_checkpoint_moves_up_and_never_down(engine: Engine, log_id: UUID) -> None:
    """A zombie's checkpoint is true, and older than that of its successor."""
    store = RelayCheckpointStore(engine, "tailer")
    store.advance(log_id, 7, 70)
    assert store.read() == RelayCheckpoint(log_id, 7, 70, {})
    store.advance(log_id, 5, 80)
    assert store.read() == RelayCheckpoint(log_id, 7, 80, {})
    store.advance(log_id, 9, 60)
    assert store.read() == RelayCheckpoint(log_id, 9, 80, {})


def test_topic_ids_are_kept_by_later_checkpoints(engine: Engine, log_id: UUID) -> None:
    store = RelayCheckpointStore(engine, "tailer")
    store.advance(log_id, 7, 70)
    store.save_topic_ids(TOPICS)
    assert store.read() == RelayCheckpoint(log_id, 7, 70, TOPICS)
    store.advance(log_id, 8, 80)
    assert store.read() == RelayCheckpoint(log_id, 8, 80, TOPICS)
    store.reset(log_id, 3)
    assert store.read() == RelayCheckpoint(log_id, 3, 0, TOPICS)


def test_the_first_checkpoint_may_be_a_reset(engine: Engine, log_id: UUID) -> None:
    store = RelayCheckpointStore(engine, "tailer")
    store.reset(log_id, 4)
    assert store.read() == RelayCheckpoint(log_id, 4, 0, {})


def test_a_reset_takes_any_log_and_an_advance_only_that_of_the_database(engine: Engine, log_id: UUID) -> None:
    store = RelayCheckpointStore(engine, "tailer")
    with pytest.raises(ForeignLog):
        store.advance(ANOTHER_LOG, 7, 70)
    with pytest.raises(ForeignLog):
        store.advance(log_id, 1_001, 70)
    assert store.read() is None
    store.advance(log_id, 1_000, 70)
    store.reset(ANOTHER_LOG, 2)
    assert store.read() == RelayCheckpoint(ANOTHER_LOG, 2, 0, {})
    with pytest.raises(ForeignLog):
        # The checkpoint is of another log than the database: this relay has to start again.
        store.advance(log_id, 7, 70)


def test_relays_have_a_checkpoint_each(engine: Engine, log_id: UUID) -> None:
    one, other = RelayCheckpointStore(engine, "tailer"), RelayCheckpointStore(engine, "polling")
    one.advance(log_id, 7, 70)
    other.advance(log_id, 3, 30)
    assert (one.read(), other.read()) == (RelayCheckpoint(log_id, 7, 70, {}), RelayCheckpoint(log_id, 3, 30, {}))


def test_old_rows_are_pruned_of_this_relay_alone(engine: Engine, log_id: UUID) -> None:
    one, other = RelayCheckpointStore(engine, "tailer"), RelayCheckpointStore(engine, "polling")
    for position in range(1, 10):
        other.advance(log_id, position, position)
    for position in range(1, 3 * STORED_CHECKPOINTS + 1):
        one.advance(log_id, position, position)
        assert len(rows(engine, "tailer")) <= 2 * STORED_CHECKPOINTS
        assert rows(engine, "tailer")[-1] == position
    assert rows(engine, "tailer") == list(range(2 * STORED_CHECKPOINTS + 1, 3 * STORED_CHECKPOINTS + 1))
    assert rows(engine, "polling") == list(range(1, 10))


def lose(engine: Engine, times: int) -> None:
    """As if another process inserted the same number first, so many times: the insert stores no row."""
    with engine.begin() as connection:
        connection.execute(text("CREATE SEQUENCE lost"))
        connection.execute(
            text(
                "CREATE FUNCTION another_is_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" IF nextval('lost') <= {times} THEN RETURN NULL; END IF; RETURN NEW; END $$"
            )
        )
        connection.execute(
            text("CREATE TRIGGER lose BEFORE INSERT ON relay_marks FOR EACH ROW EXECUTE FUNCTION another_is_first()")
        )


def test_a_save_that_another_process_precedes_is_repeated(engine: Engine, log_id: UUID) -> None:
    store = RelayCheckpointStore(engine, "tailer")
    store.advance(log_id, 7, 70)
    lose(engine, MAX_ATTEMPTS - 1)
    store.advance(log_id, 8, 80)
    assert store.read() == RelayCheckpoint(log_id, 8, 80, {})


@pytest.mark.parametrize("save", ["advance", "reset", "save_topic_ids"])
def test_a_save_that_others_precede_every_time_is_an_error_of_the_server(
    engine: Engine, log_id: UUID, save: str
) -> None:
    """It is not stored, and the relay must not go on as if it were."""
    store = RelayCheckpointStore(engine, "tailer")
    store.advance(log_id, 7, 70)
    lose(engine, MAX_ATTEMPTS)
    calls = {
        "advance": lambda: store.advance(log_id, 8, 80),
        "reset": lambda: store.reset(log_id, 8),
        "save_topic_ids": lambda: store.save_topic_ids(TOPICS),
    }
    with pytest.raises(SQLAlchemyError, match="checkpoint of tailer"):
        calls[save]()
    assert store.read() == RelayCheckpoint(log_id, 7, 70, {})
