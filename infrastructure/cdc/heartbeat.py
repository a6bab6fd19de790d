"""Heartbeats through the WAL: they move an idle slot on, show what the WAL lacks, and measure the way to Kafka.

A heartbeat is a logical message, no row: it comes through the slot in its place and is never published.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from sqlalchemy import Engine, text

from infrastructure.cdc.pgoutput import LogicalMessage, ProtocolError

PREFIX = "ridelog.heartbeat"
EVERY_S = 2.0

# One statement: the position is that of events whose commits lie before this message in the WAL.
_EMIT = text(
    "SELECT pg_logical_emit_message(true, :prefix, json_build_object("
    " 'position', position, 'sender', CAST(:sender AS text), 'sent_ns', CAST(:sent_ns AS bigint))::text) FROM log_head"
)


class Beat(NamedTuple):
    """Every event up to ``position`` was committed before it. ``sent_ns`` is on the monotonic clock of ``sender``."""

    position: int
    sender: str
    sent_ns: int


def beat_of(message: LogicalMessage) -> Beat | None:
    """The heartbeat that a message is; None for one of somebody else. Raises ProtocolError on a garbled one."""
    if message.prefix != PREFIX or not message.transactional:
        return None
    try:
        found = msgspec.json.decode(message.content, type=dict[str, int | str])
        return Beat(int(found["position"]), str(found["sender"]), int(found["sent_ns"]))
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise ProtocolError(f"a heartbeat that nobody can read: {error}") from error


class Heart:
    """Sends a heartbeat every ``every_s`` seconds, the first at once, and tells how long its own took, in seconds."""

    def __init__(
        self,
        engine: Engine,
        took: Callable[[float], None],
        every_s: float = EVERY_S,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._took = took
        self._every_ns = int(every_s * 1e9)
        self._clock_ns = clock_ns
        self._sender = uuid.uuid4().hex
        self._next_ns = 0

    def beat(self) -> None:
        """Send one if it is time. Raises SQLAlchemyError."""
        now = self._clock_ns()
        if now < self._next_ns:
            return
        self._next_ns = now + self._every_ns
        with self._engine.connect() as connection:
            connection.execute(_EMIT, {"prefix": PREFIX, "sender": self._sender, "sent_ns": now})

    def arrived(self, beat: Beat) -> None:
        """Everything recorded before ``beat`` is acknowledged by Kafka."""
        # Another life's clock says nothing here.
        if beat.sender == self._sender:
            self._took((self._clock_ns() - beat.sent_ns) / 1e9)
