"""The replication connection: pgoutput messages in, confirmed LSNs out."""

from __future__ import annotations

import select
import time
from typing import NamedTuple

import psycopg2
import psycopg2.errors
from psycopg2.extras import LogicalReplicationConnection

from infrastructure.cdc.replication_slot import DatabaseIdentity, SlotUnusable
from infrastructure.postgres.engine import connect_args
from infrastructure.postgres.session_settings import for_replication
from infrastructure.settings.postgres_url import libpq_parameters, sqlalchemy_url

FEEDBACK_INTERVAL_S = 1.0
"""Far below SENDER_TIMEOUT, so that a slow Kafka never ends the connection."""
MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of messages per read, not counting the last one: any role can write logical messages of many megabytes."""
SENDER_TIMEOUT = "10s"
"""How long a tailer that was paused, or whose machine was lost, keeps a standby from the slot; 60 s by default."""


_POOLER = "unsupported startup parameter"


class SlotInUse(Exception):
    """Another tailer reads from this slot; only one can."""


class StreamLost(Exception):
    """The replication connection ended; restart from the confirmed LSN."""


class WalBatch(NamedTuple):
    """Raw messages in WAL order.

    ``drained``: nothing more has arrived. ``wal_end``: then the LSN up to which the server has sent everything.
    """

    messages: list[bytes]
    wal_end: int
    drained: bool


class ReplicationStream:
    """Reads a slot from its confirmed LSN on. Raises SlotInUse at the start, StreamLost later."""

    def __init__(
        self,
        url: str,
        slot: str,
        publication: str,
        setting: str = "RIDELOG_POSTGRES_URL",
        expected: DatabaseIdentity | None = None,
    ) -> None:
        """Connect and start the replication.

        ``setting``: the name of the setting that ``url`` comes from. ``expected``: the database that it must lead to,
        if known. Raises SlotUnusable if it leads to another database, UserError if it is not a URL, SlotInUse and
        StreamLost.
        """
        # Parsed as the engine parses it: libpq treats several hosts in a URL differently.
        address = sqlalchemy_url(url, setting)
        parameters = libpq_parameters(address) | connect_args(address)
        self._last_feedback = 0.0
        self._confirmed = 0
        try:
            self._connection = psycopg2.connect(**parameters, connection_factory=LogicalReplicationConnection)
            self._cursor = self._connection.cursor()
            for statement in for_replication():
                self._cursor.execute(statement)
            if expected is not None:
                self._check_identity(expected, setting)
            self._cursor.execute(f"SET wal_sender_timeout = '{SENDER_TIMEOUT}'")
            self._cursor.start_replication(
                slot_name=slot,
                # messages: the heartbeats.
                options={"proto_version": "1", "publication_names": publication, "messages": "true"},
                status_interval=FEEDBACK_INTERVAL_S,
            )
        except psycopg2.Error as error:
            # A connection that is open but cannot stream would occupy one of the server's walsenders until it is
            # garbage-collected.
            if (opened := getattr(self, "_connection", None)) is not None:
                opened.close()
            if isinstance(error, psycopg2.errors.ObjectInUse):
                raise SlotInUse(str(error).strip()) from error
            raise StreamLost(_with_hint(error, setting)) from error

    def _check_identity(self, expected: DatabaseIdentity, setting: str) -> None:
        """Invariant 14: a slot of another cluster may have the same name, and other events at the same positions."""
        self._cursor.execute("IDENTIFY_SYSTEM")
        system, _timeline, _lsn, database = self._cursor.fetchone() or ("", 0, "", "")
        if (str(system), str(database)) != expected:
            self._connection.close()
            raise SlotUnusable(
                f"{setting} leads to the database {database} of the cluster {system}, RIDELOG_POSTGRES_URL to "
                f"{expected.database} of {expected.system}: name the same database in both"
            )

    def read(self, limit: int) -> WalBatch:
        """Messages that have arrived, at most ``limit`` and about MAX_BATCH_BYTES. Does not wait. Raises StreamLost."""
        messages: list[bytes] = []
        read_message = self._cursor.read_message
        drained = False
        size = 0
        try:
            while len(messages) < limit and size < MAX_BATCH_BYTES:
                message = read_message()
                if message is None:
                    drained = True
                    break
                payload = message.payload
                size += len(payload)
                messages.append(payload)
        except psycopg2.Error as error:
            raise StreamLost(str(error).strip()) from error
        return WalBatch(messages, self._cursor.wal_end, drained)

    def wait(self, timeout_s: float) -> None:
        """Wait until something arrives, at most ``timeout_s`` seconds."""
        select.select([self._connection], [], [], timeout_s)

    def confirm(self, lsn: int) -> None:
        """Confirm to the server that all before ``lsn`` is acknowledged, once a second, even if it has not changed.

        Sent whether or not messages are read: a tailer that waits for Kafka must still answer keepalives. Raises
        StreamLost.
        """
        now = time.monotonic()
        if now - self._last_feedback < FEEDBACK_INTERVAL_S:
            return
        self._last_feedback = now
        self._confirmed = max(self._confirmed, lsn)
        try:
            self._cursor.send_feedback(
                write_lsn=self._confirmed, flush_lsn=self._confirmed, apply_lsn=self._confirmed, force=True
            )
        except psycopg2.Error as error:
            raise StreamLost(str(error).strip()) from error

    def close(self) -> None:
        self._connection.close()


def _with_hint(error: psycopg2.Error, setting: str) -> str:
    message = str(error).strip()
    if _POOLER not in message:
        return message
    return (
        f"{message}; {setting} leads to a pooler without replication: "
        "set RIDELOG_POSTGRES_REPLICATION_URL to the server itself"
    )
