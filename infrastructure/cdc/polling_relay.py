"""The polling relay: publishes from the table by position, for databases without logical replication.

Reading after the last position loses nothing: positions are contiguous and in commit order (invariant 1), so no event
appears later below a position that was read. At its start the relay takes a lock, since only one may run, and finds the
position to resume from.
"""

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
    """Call ``step`` in a loop. After any exception, discard the poller and restart from the saved checkpoint."""

    def __init__(
        self,
        transactions: InFlightTransactions,
        events: EventSource,
        checkpoint_saver: CheckpointSaver,
        wait: Callable[[float], object],
    ) -> None:
        """``wait`` sleeps for at most the given number of seconds."""
        self.transactions = transactions
        self._events = events
        self._checkpoint_saver = checkpoint_saver
        self._wait = wait
        self._last = transactions.progress.position or 0

    def step(self, timeout_s: float) -> int:
        """Read, publish, collect acknowledgements, save the checkpoint. Returns the number of events read.

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
"""How long a relay that was paused, or whose machine was lost, keeps a standby waiting."""


class RelayInUse(Exception):
    """Another polling relay of this name runs; there can be only one."""


class RelayLock:
    """A session lock. The server ends an idle session, so a holder that is paused loses the lock."""

    def __init__(self, connection: Connection, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the lock. ``connection`` is in autocommit, used for nothing else, and discarded afterwards.

        Raises RelayInUse.
        """
        self._connection = connection
        self._clock = clock
        self._next = clock() + LOCK_CHECK_INTERVAL_S
        connection.execute(text(f"SET idle_session_timeout = '{IDLE_TIMEOUT}'"))
        if not try_session_lock(connection, f"ridelog.relay.{name}"):
            raise RelayInUse(f"another polling relay holds the lock of {name}")

    def renew_if_due(self, position: int) -> None:
        """Keep the session alive if the interval has passed. Raises SQLAlchemyError once the lock is lost.

        Raises ForeignLog if the log ends before ``position``: it was restored, and its next events would be skipped.
        """
        if self._clock() >= self._next:
            if read_head(self._connection).position < position:
                raise ForeignLog("the log was restored while the relay ran: it restarts with the present log")
            self._next = self._clock() + LOCK_CHECK_INTERVAL_S


class PollingRelay:
    """A poller that holds the lock of its name."""

    def __init__(self, poller: Poller, lock: RelayLock) -> None:
        self._poller = poller
        self._lock = lock
        self.transactions: InFlightTransactions = poller.transactions

    def step(self, timeout_s: float) -> int:
        """Renew the lock, then run ``Poller.step``: a process that was paused detects a lost lock before it reads."""
        self._lock.renew_if_due(self.transactions.progress.position or 0)
        return self._poller.step(timeout_s)


@contextmanager
def polling_relay(settings: Settings, engine: Engine, wait: Callable[[float], object]) -> Iterator[PollingRelay]:
    """Yield the only relay of its name until the end of the block.

    Raises RelayInUse, PublishError and SQLAlchemyError.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Detached from the pool, so that its time-out and its lock end with the connection.
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
