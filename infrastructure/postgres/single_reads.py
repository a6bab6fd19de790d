"""Connections for reads of one statement each, from the pool or held for a series of reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Connection, Engine


class SingleReads:
    """Gives connections on which each statement is a transaction of its own.

    A transaction around one statement would be two more round trips, and a replay has up to ten statements.
    """

    def __init__(self, engine: Engine, held: Connection | None = None) -> None:
        self._pool = engine
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._held = held

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection until the block ends. Raises SQLAlchemyError."""
        if self._held is not None:
            yield self._held
            return
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def held(self) -> Iterator[Self]:
        """The same over one connection, for one thread: the pool tests a connection each time that it gives it.

        Raises SQLAlchemyError.
        """
        with self._pool.connect() as connection:
            session: Any = connection.connection.dbapi_connection
            # The engine's option would set the isolation level of the session too, which is one more round trip.
            session.autocommit = True
            try:
                yield type(self)(self._pool, connection)
            finally:
                if not session.closed:
                    session.autocommit = False
