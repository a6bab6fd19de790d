"""The start of a polling relay's life: the only one, and its place in the log known."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from infrastructure.cdc.events_table import EventsTable
from infrastructure.cdc.guard import place
from infrastructure.cdc.keeper import MarkKeeper
from infrastructure.cdc.marks import AnotherLog, Marks
from infrastructure.cdc.outflow import Outflow
from infrastructure.cdc.poller import Poller
from infrastructure.event_store.head import read_head
from infrastructure.kafka.factory import make_publisher
from infrastructure.postgres.locks import try_session_lock
from infrastructure.settings import Settings
from infrastructure.topics import topics

log = logging.getLogger("ridelog.tailer")

HOLD_EVERY_S = 1.0
IDLE_TIMEOUT = "10s"
"""How long a relay that was stopped, or whose machine is gone, keeps a standby waiting."""


class RelayInUse(Exception):
    """Another polling relay of this name runs; there can be only one."""


class RelayLock:
    """Held by a session, which the server ends when it hears nothing: a holder that was stopped loses the lock."""

    def __init__(self, connection: Connection, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes the lock, or raises RelayInUse. The connection is its own, in autocommit, and thrown away later."""
        self._connection = connection
        self._clock = clock
        self._next = clock() + HOLD_EVERY_S
        connection.execute(text(f"SET idle_session_timeout = '{IDLE_TIMEOUT}'"))
        if not try_session_lock(connection, f"ridelog.relay.{name}"):
            raise RelayInUse(f"another polling relay holds the lock of {name}")

    def hold(self, position: int) -> None:
        """Show a sign of life if it is time. Raises SQLAlchemyError once the lock is lost.

        Raises AnotherLog if the log ends before ``position``: it was restored, and what it gets next would be passed.
        """
        if self._clock() >= self._next:
            if read_head(self._connection).position < position:
                raise AnotherLog("the log was restored beneath the relay: it begins by what is there now")
            self._next = self._clock() + HOLD_EVERY_S


class PollingRelay:
    """A poller that holds the lock of its name."""

    def __init__(self, poller: Poller, lock: RelayLock) -> None:
        self._poller = poller
        self._lock = lock
        self.out: Outflow = poller.out

    def step(self, timeout_s: float) -> int:
        """As ``Poller.step``. The lock first: one that was asleep finds out before it reads more."""
        self._lock.hold(self.out.progress.position or 0)
        return self._poller.step(timeout_s)


@contextmanager
def polling_relay(settings: Settings, engine: Engine, pause: Callable[[float], object]) -> Iterator[PollingRelay]:
    """A relay that is the only one until the end of the block. Raises RelayInUse, PublishError, SQLAlchemyError."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Out of the pool: its time-out and its lock end with it.
        connection.detach()
        lock = RelayLock(connection, settings.slot_name)
        marks = Marks(engine, settings.slot_name)
        with engine.connect() as reading:
            head = read_head(reading)
        at = place(marks.read(), head.log_id, head.position)
        if at.position is None or at.words:
            marks.begin(head.log_id, at.position or 0)
        if at.words:
            log.warning("%s", at.words)
        publisher = make_publisher(settings)
        try:
            poller = Poller(
                Outflow(publisher, at.position or 0),
                EventsTable(engine, topics(settings), settings.topic_partitions),
                MarkKeeper(functools.partial(marks.keep, head.log_id)),
                pause,
            )
            yield PollingRelay(poller, lock)
        finally:
            publisher.close()
