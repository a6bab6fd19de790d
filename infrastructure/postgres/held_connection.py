"""Runs single statements on one connection that stays open between them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, Executable
from sqlalchemy.exc import DBAPIError, SQLAlchemyError


class HeldConnection:
    """For a statement that is run several times a second. Opened at the first one. Blocks; safe to share.

    A connection from the pool is tested before each use, and its isolation level is set before and after: three round
    trips more than the statement, each of which wakes a thread. Here a broken connection is replaced when it is found.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._held: Connection | None = None
        self._lock = threading.Lock()

    def one_or_none(self, statement: Executable, values: Mapping[str, Any]) -> Any:
        """The only row of the result, None for none. Raises SQLAlchemyError."""
        if not self._lock.acquire(blocking=False):
            # Another thread's statement may hang on a dead server: this one must not wait for it.
            with self._engine.connect() as connection:
                return connection.execute(statement, values).one_or_none()
        try:
            return self._on_held(statement, values)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection, unless a statement runs on it. The next statement opens another."""
        if self._lock.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._lock.release()

    def _on_held(self, statement: Executable, values: Mapping[str, Any]) -> Any:
        if self._held is not None:
            try:
                return self._held.execute(statement, values).one_or_none()
            except SQLAlchemyError as error:
                self._let_go()
                if not (isinstance(error, DBAPIError) and error.connection_invalidated):
                    raise
                # As after a restart of the server: a new connection is tested when it leaves the pool.
        self._held = self._engine.connect()
        try:
            return self._held.execute(statement, values).one_or_none()
        except BaseException:
            self._let_go()
            raise

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            # Back in the pool it would be reset, by a round trip to a server that may be gone.
            held.invalidate()
            held.close()
