"""The start of a polling relay's life: the only one, and its place in the log known."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from infrastructure.cdc.gap_fill import EventSource, EventsTable, publish_range
from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.relay_checkpoint import CheckpointSaver, ForeignLog, RelayCheckpointStore
from infrastructure.cdc.wal_relay import start_position
from infrastructure.event_store.log_head import read_head
from infrastructure.kafka.clients import make_publisher
from infrastructure.kafka.topics import topics
from infrastructure.postgres.advisory_locks import try_session_lock
from infrastructure.settings.settings import Settings

MAX_POSITION = 2**63 - 1
POLL_INTERVAL_S = 0.05


class Poller:
    """Drive it with ``step``. Any exception means: throw it away and start again from the mark."""

    def __init__(
        self,
        transactions: InFlightTransactions,
        events: EventSource,
        checkpoint_saver: CheckpointSaver,
        wait: Callable[[float], object],
    ) -> None:
        """``wait`` waits for so many seconds, or less when there is a reason."""
        self.transactions = transactions
        self._events = events
        self._checkpoint_saver = checkpoint_saver
        self._wait = wait
        self._last = transactions.progress.position or 0

    def step(self, timeout_s: float) -> int:
        """Read, publish, collect acknowledgements, store the mark; the number of events read.

        Raises PublishError, ForeignLog or SQLAlchemyError.
        """
        before = self._last
        moved = self.transactions.publish()
        if self.transactions.has_capacity():
            self._last = publish_range(self._events, self.transactions, before, MAX_POSITION)
            moved = self.transactions.publish() or moved
        self.transactions.collect()
        self._checkpoint_saver.save_if_due(self.transactions.progress.position, 0)
        if self._last == before and not moved:
            self._wait(min(timeout_s, 0.005 if self.transactions.handed_over_records() else POLL_INTERVAL_S))
        return self._last - before


log = logging.getLogger("ridelog.tailer")

LOCK_CHECK_INTERVAL_S = 1.0
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
        self._next = clock() + LOCK_CHECK_INTERVAL_S
        connection.execute(text(f"SET idle_session_timeout = '{IDLE_TIMEOUT}'"))
        if not try_session_lock(connection, f"ridelog.relay.{name}"):
            raise RelayInUse(f"another polling relay holds the lock of {name}")

    def renew_if_due(self, position: int) -> None:
        """Show a sign of life if it is time. Raises SQLAlchemyError once the lock is lost.

        Raises ForeignLog if the log ends before ``position``: it was restored, and what it gets next would be passed.
        """
        if self._clock() >= self._next:
            if read_head(self._connection).position < position:
                raise ForeignLog("the log was restored beneath the relay: it begins by what is there now")
            self._next = self._clock() + LOCK_CHECK_INTERVAL_S


class PollingRelay:
    """A poller that holds the lock of its name."""

    def __init__(self, poller: Poller, lock: RelayLock) -> None:
        self._poller = poller
        self._lock = lock
        self.transactions: InFlightTransactions = poller.transactions

    def step(self, timeout_s: float) -> int:
        """As ``Poller.step``. The lock first: one that was asleep finds out before it reads more."""
        self._lock.renew_if_due(self.transactions.progress.position or 0)
        return self._poller.step(timeout_s)


@contextmanager
def polling_relay(settings: Settings, engine: Engine, wait: Callable[[float], object]) -> Iterator[PollingRelay]:
    """A relay that is the only one until the end of the block. Raises RelayInUse, PublishError, SQLAlchemyError."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Out of the pool: its time-out and its lock end with it.
        connection.detach()
        lock = RelayLock(connection, settings.slot_name)
        checkpoints = RelayCheckpointStore(engine, settings.slot_name)
        with engine.connect() as reading:
            head = read_head(reading)
        at = start_position(checkpoints.read(), head.log_id, head.position)
        if at.position is None or at.message:
            checkpoints.reset(head.log_id, at.position or 0)
        if at.message:
            log.warning("%s", at.message)
        publisher = make_publisher(settings)
        try:
            poller = Poller(
                InFlightTransactions(publisher, at.position or 0),
                EventsTable(engine, topics(settings), settings.topic_partitions),
                CheckpointSaver(functools.partial(checkpoints.advance, head.log_id)),
                wait,
            )
            yield PollingRelay(poller, lock)
        finally:
            publisher.close()
