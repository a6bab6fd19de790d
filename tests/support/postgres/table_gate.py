"""A lock that holds back every statement on a table, and lets those that wait do one transaction each."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from tests.support.waiting import eventually

_PID = text("SELECT pg_backend_pid()")
_WAITS = text("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = :pid AND NOT granted)")


class TableGate:
    """Open until ``close`` is called. Postgres grants locks of a table in the order in which they were wanted."""

    def __init__(self, url: str, table: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool)
        self._lock = text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        self._holder: Connection | None = None

    def close(self) -> None:
        """Hold back what begins from now on; returns once what runs has ended."""
        holder = self._engine.connect()
        holder.execute(self._lock)
        self._holder = holder

    def step(self) -> None:
        """Let each transaction that waits now run to its end, and none after it."""
        assert self._holder is not None, "the gate is open"
        following = self._engine.connect()
        pid = following.execute(_PID).scalar_one()
        waiting = threading.Thread(target=following.execute, args=(self._lock,), name="next lock")
        waiting.start()
        with self._engine.connect() as observer, observer.execution_options(isolation_level="AUTOCOMMIT"):
            eventually(lambda: observer.execute(_WAITS, {"pid": pid}).scalar_one(), what="the next lock is wanted")
        self._holder.close()
        waiting.join()
        self._holder = following

    def open(self) -> None:
        """Hold nothing back."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open()
        self._engine.dispose()
