"""One connection for a statement that is run again and again, and another one when it is broken or in use."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from infrastructure.postgres.held_connection import HeldConnection
from tests.support.waiting import eventually

_BACKEND = text("SELECT pg_backend_pid() AS pid, :of AS of")
_DIVIDE = text("SELECT 1 / CAST(:by AS integer)")
_LOCK = text("SELECT pg_advisory_lock(:key)")
KEY = 4711


@pytest.fixture
def held(engine: Engine) -> Iterator[HeldConnection]:
    with closing(HeldConnection(engine)) as one:
        yield one


def backend(held: HeldConnection) -> int:
    return int(held.one_or_none(_BACKEND, {"of": "test"}).pid)


def test_statements_share_a_connection_that_leaves_no_transaction_open(engine: Engine, held: HeldConnection) -> None:
    pid = backend(held)
    assert backend(held) == pid
    with engine.connect() as connection:
        state = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
        assert connection.execute(state, {"pid": pid}).scalar_one() == "idle"


def test_a_connection_that_the_server_ended_is_replaced(engine: Engine, held: HeldConnection) -> None:
    """Given a server that was restarted, when the next statement is run, then it is answered."""
    pid = backend(held)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    assert backend(held) != pid


def test_a_connection_that_was_closed_is_opened_again(held: HeldConnection) -> None:
    pid = backend(held)
    held.close()
    assert backend(held) != pid


def test_a_statement_that_fails_leaves_no_other_to_fail(held: HeldConnection) -> None:
    for _ in range(2):
        with pytest.raises(DBAPIError, match="division by zero"):
            held.one_or_none(_DIVIDE, {"by": 0})
        assert held.one_or_none(_DIVIDE, {"by": 1})[0] == 1


def test_a_statement_waits_for_no_other_thread(engine: Engine, held: HeldConnection) -> None:
    """Given a statement that hangs in another thread, when one is run here, then it is answered."""
    waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :key AND NOT granted")
    with ThreadPoolExecutor(1) as pool, engine.connect() as connection:
        connection.execute(_LOCK, {"key": KEY})
        hanging = pool.submit(held.one_or_none, _LOCK, {"key": KEY})

        def is_waiting() -> bool:
            return bool(connection.execute(waits, {"key": KEY}).scalar_one() == 1)

        eventually(is_waiting, within_s=30, what="the other thread waits")
        assert backend(held) > 0
        assert not hanging.done()
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock_all()"))
        hanging.result(timeout=30)
