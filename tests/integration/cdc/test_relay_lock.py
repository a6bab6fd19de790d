"""The session lock of a polling relay, on a real server with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.cdc.polling_relay import LOCK_CHECK_INTERVAL_S, RelayInUse, RelayLock
from infrastructure.cdc.relay_checkpoint import ForeignLog
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from tests.support.postgres.log_events import events_of


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """A log that ends at position 3."""
    engine = writer_engine(postgres_url)
    EventRecorder(engine).insert_events(events_of("anna", 1, 3))
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()
        yield connection


def test_only_one_relay_of_a_name_has_the_lock(engine: Engine, connection: Connection) -> None:
    RelayLock(connection, "one")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.detach()
        with pytest.raises(RelayInUse, match="the lock of one"):
            RelayLock(other, "one")
        RelayLock(other, "two")


def test_the_log_is_compared_with_the_position_at_each_interval(connection: Connection) -> None:
    clock = [100.0]
    lock = RelayLock(connection, "one", lambda: clock[0])
    # Not due: nothing is asked, and a position beyond the log is not noticed.
    clock[0] += LOCK_CHECK_INTERVAL_S - 0.01
    lock.renew_if_due(4)
    clock[0] = 100.0 + LOCK_CHECK_INTERVAL_S
    lock.renew_if_due(3)
    clock[0] += LOCK_CHECK_INTERVAL_S - 0.01
    lock.renew_if_due(4)
    clock[0] += 0.01
    with pytest.raises(ForeignLog):
        lock.renew_if_due(4)


def test_a_relay_whose_session_was_ended_notices_it_before_it_reads_on(engine: Engine, connection: Connection) -> None:
    clock = [100.0]
    lock = RelayLock(connection, "one", lambda: clock[0])
    with engine.connect() as other:
        other.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )
    clock[0] += LOCK_CHECK_INTERVAL_S
    with pytest.raises(SQLAlchemyError):
        lock.renew_if_due(3)
