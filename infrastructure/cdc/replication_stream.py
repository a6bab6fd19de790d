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
"""Far below SENDER_TIMEOUT, so that a slow Kafka never costs the connection."""
MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of messages held at once, but for the last one: any role can write logical messages of many megabytes."""
SENDER_TIMEOUT = "10s"
"""How long a tailer that was stopped, or whose machine is gone, keeps a standby from the slot; 60 s by default."""


_POOLER = "unsupported startup parameter"


class SlotInUse(Exception):
    """Another tailer reads from this slot; there can be only one."""


class StreamLost(Exception):
    """The replication connection ended; start again from the confirmed LSN."""


class WalBatch(NamedTuple):
    """Raw messages in WAL order; ``wal_end`` is how far the server says it has sent once ``drained``."""

    messages: list[bytes]
    wal_end: int
    drained: bool


class ReplicationStream:
    """Reads from the slot's confirmed LSN on. Raises SlotInUse at start, StreamLost later."""

    def __init__(
        self,
        url: str,
        slot: str,
        publication: str,
        setting: str = "RIDELOG_POSTGRES_URL",
        expected: DatabaseIdentity | None = None,
    ) -> None:
        """``setting``: the one that ``url`` comes from. ``expected``: the database that it has to lead to, if known.

        Raises SlotUnusable if it leads to another one, UserError if it is no URL.
        """
        # As the engine reads it: libpq reads several hosts in a URL in another way.
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
            # A connection that was opened and cannot stream would keep one of the server's walsenders until it is
            # collected.
            if (opened := getattr(self, "_connection", None)) is not None:
                opened.close()
            if isinstance(error, psycopg2.errors.ObjectInUse):
                raise SlotInUse(str(error).strip()) from error
            raise StreamLost(_with_hint(error, setting)) from error

    def _check_identity(self, expected: DatabaseIdentity, setting: str) -> None:
        """Invariant 14: the slot of another cluster may have the same name, and events of the same positions."""
        self._cursor.execute("IDENTIFY_SYSTEM")
        system, _timeline, _lsn, database = self._cursor.fetchone() or ("", 0, "", "")
        if (str(system), str(database)) != expected:
            self._connection.close()
            raise SlotUnusable(
                f"{setting} leads to the database {database} of the cluster {system}, RIDELOG_POSTGRES_URL to "
                f"{expected.database} of {expected.system}: name the same database in both"
            )

    def read(self, limit: int) -> WalBatch:
        """What has arrived, at most ``limit`` messages and about MAX_BATCH_BYTES; does not wait."""
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
        """Until something arrives, at most ``timeout_s`` seconds."""
        select.select([self._connection], [], [], timeout_s)

    def confirm(self, lsn: int) -> None:
        """Tell the server that all before ``lsn`` is safe, once a second, moved or not.

        Sent whether or not messages are read: a tailer that waits for Kafka must still answer keepalives.
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
    said = str(error).strip()
    if _POOLER not in said:
        return said
    return (
        f"{said}; {setting} leads to a pooler without replication: let RIDELOG_POSTGRES_REPLICATION_URL name the server"
    )
