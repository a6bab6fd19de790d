"""A writer that, as its server sees it, is stopped in the middle of a COPY."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import Engine

QUICK = {"transaction_timeout": "2s", "idle_in_transaction_session_timeout": "2s", "lock_timeout": "1s"}
"""Short timeouts, for tests that wait until they expire."""


class _BlockingFile:
    """A file whose read blocks until ``ends`` is set."""

    def __init__(self) -> None:
        self.is_read = threading.Event()
        self.ends = threading.Event()

    def read(self, _size: int) -> str:
        self.is_read.set()
        self.ends.wait(60)
        return ""


@contextmanager
def stopped_in_copy(engine: Engine, lock: str) -> Iterator[None]:
    """Hold in a transaction what ``lock`` locks, during the block. Asserts at the end that the server ended it."""
    silent, failed = _BlockingFile(), threading.Event()

    def work() -> None:
        connection = engine.raw_connection()
        try:
            cursor: Any = connection.cursor()
            cursor.execute("CREATE TEMP TABLE few (n int)")
            cursor.execute(lock)
            cursor.copy_expert("COPY few FROM STDIN", silent)
        except psycopg2.Error:
            failed.set()
        finally:
            connection.invalidate()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert silent.is_read.wait(10)
        yield
    finally:
        silent.ends.set()
        thread.join(10)
    assert failed.is_set(), "a transaction that slept for so long must not commit"
