"""Heartbeats through the WAL: they advance an idle slot, reveal missing events, and measure the delay to Kafka.

A heartbeat is a logical message, not a row: it arrives through the slot in WAL order and is never published. Any role
that may connect to the database can write one, and so does another installation in it. So a heartbeat is accepted only
if it names this log, and its position is compared with the head (invariant 16).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy import Engine, text

from infrastructure.cdc.pgoutput import LogicalMessage
from infrastructure.event_store.log_head import NEWEST_NUMBERS

PREFIX = "ridelog.heartbeat"
HEARTBEAT_INTERVAL_S = 2.0
MAX_CONTENT_BYTES = 512
"""Heartbeats of this program have about 180. Longer content is not parsed."""

# One statement, so that the events up to this position committed before this message in the WAL.
_EMIT = text(
    "SELECT pg_logical_emit_message(true, :prefix, json_build_object('log_id', log_id,"  # noqa: S608
    " 'position', position, 'sender', CAST(:sender AS text), 'sent_ns', CAST(:sent_ns AS bigint))::text)"
    f" FROM log_head CROSS JOIN LATERAL ({NEWEST_NUMBERS}) n"
)


class Heartbeat(NamedTuple):
    """Every event up to ``position`` was committed before it. ``sent_ns`` is on the monotonic clock of ``sender``."""

    position: int
    sender: str
    sent_ns: int


_Int64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _HeartbeatContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    log_id: uuid.UUID
    position: _Int64
    sender: Annotated[str, Meta(max_length=64)]
    sent_ns: _Int64


class ForeignHeartbeat(Exception):
    """A message with the heartbeat prefix that is not a heartbeat of this log; the text says why."""


def parse_heartbeat(message: LogicalMessage, log_id: uuid.UUID) -> Heartbeat | None:
    """Parse a heartbeat of the log ``log_id``. Returns None for a message with another prefix.

    Raises ForeignHeartbeat if it is malformed or of another log. The position is not checked here.
    """
    if message.prefix != PREFIX:
        return None
    if not message.transactional or len(message.content) > MAX_CONTENT_BYTES:
        raise ForeignHeartbeat("malformed")
    try:
        found = msgspec.json.decode(message.content, type=_HeartbeatContent)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ForeignHeartbeat("malformed") from error
    if found.log_id != log_id:
        raise ForeignHeartbeat("of another log")
    return Heartbeat(found.position, found.sender, found.sent_ns)


class HeartbeatSender:
    """Sends a heartbeat every ``interval_s`` seconds, the first at once.

    ``on_round_trip`` gets the seconds that each of its own heartbeats took until it was acknowledged.
    """

    def __init__(
        self,
        engine: Engine,
        on_round_trip: Callable[[float], None],
        interval_s: float = HEARTBEAT_INTERVAL_S,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._on_round_trip = on_round_trip
        self._interval_ns = int(interval_s * 1e9)
        self._clock_ns = clock_ns
        self._sender = uuid.uuid4().hex
        self._next_ns = 0

    def send_if_due(self) -> None:
        """Send a heartbeat if the interval has passed. Raises SQLAlchemyError."""
        now = self._clock_ns()
        if now < self._next_ns:
            return
        self._next_ns = now + self._interval_ns
        with self._engine.connect() as connection:
            connection.execute(_EMIT, {"prefix": PREFIX, "sender": self._sender, "sent_ns": now})

    def acknowledged(self, heartbeat: Heartbeat) -> None:
        """Report the round trip of a heartbeat: Kafka has acknowledged everything recorded before it."""
        # The monotonic clock of another process is not comparable.
        if heartbeat.sender == self._sender:
            self._on_round_trip((self._clock_ns() - heartbeat.sent_ns) / 1e9)
