"""One rebuild of a projection at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from infrastructure.event_store.errors import unavailable_as_port_error
from infrastructure.postgres.locks import try_session_lock
from infrastructure.user_error import UserError


@contextmanager
def rebuild_lock(engine: Engine, projection: str) -> Iterator[None]:
    """Held by the session, so that a killed rebuild frees it. Raises UserError if another one runs.

    A restart of Postgres frees it too. Two rebuilds at once cost work and nothing else: every write is a
    compare-and-set.
    """
    with unavailable_as_port_error():
        connection = engine.connect()
    with connection:
        with unavailable_as_port_error():
            held = try_session_lock(connection, f"ridelog/rebuild/{projection}")
            connection.commit()
        if not held:
            raise UserError(f"another rebuild or rollback of {projection} is running; wait for it, or stop it")
        try:
            yield
        finally:
            # With the connection goes the lock, also when the server has gone first.
            connection.invalidate()
