"""Connections to Postgres: one engine for writers, whose time at the lock is bounded, and one for readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from infrastructure.event_store.overdue import APPLICATION
from infrastructure.user_error import UserError

LIVENESS = {
    "connect_timeout": "10",
    # A host that is gone says nothing: without these its connections would be waited for for hours, and the one thread
    # that writes with them, while the new primary is up.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    # Whatever the environment or the database says: ids of riders are UTF-8.
    "client_encoding": "utf8",
}
WRITER_TIMEOUTS = {
    # A writer stopped inside its transaction (SIGSTOP, a paused VM) would hold the log's lock for ever.
    "transaction_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "20s",
}


def sqlalchemy_url(url: str) -> URL:
    """A libpq-style URL as SQLAlchemy wants it, always through psycopg2 (it speaks the replication protocol).

    Raises UserError for a text that is no URL.
    """
    try:
        return make_url(url).set(drivername="postgresql+psycopg2")
    except (ArgumentError, ValueError):
        # Without its words, which may quote a password.
        raise UserError(
            "RIDELOG_POSTGRES_URL is no URL of a database, such as postgresql://user:password@host:5432/name"
        ) from None


def connect_args(url: URL) -> dict[str, str]:
    """libpq's parameters of every connection; what ``url`` says of them wins."""
    return {name: value for name, value in LIVENESS.items() if name not in url.query}


def reader_engine(url: str, pool_size: int = 5) -> Engine:
    """Connections are tried before each use: a reader need not know that the server was restarted."""
    return _engine(url, pool_size, pre_ping=True)


def _engine(url: str, pool_size: int, *, pre_ping: bool) -> Engine:
    address = sqlalchemy_url(url)
    return create_engine(
        address,
        pool_size=pool_size,
        max_overflow=10,
        pool_pre_ping=pre_ping,
        connect_args=connect_args(address) | {"application_name": APPLICATION},
    )


def writer_engine(url: str, pool_size: int = 5, timeouts: Mapping[str, str] = WRITER_TIMEOUTS) -> Engine:
    """Connections with the time-outs above, as far as the server knows them (transaction_timeout: 17).

    Not tried before each use: that was 7 % of ingest's CPU, and after a restart of the server it is enough that the
    first batch fails, since it is answered with 503 and a ping sent again is recorded once.
    """
    return _with_timeouts(_engine(url, pool_size, pre_ping=False), timeouts)


def sink_engine(url: str, pool_size: int = 2, timeouts: Mapping[str, str] = WRITER_TIMEOUTS) -> Engine:
    """For sinks in Postgres: tried before each use, and with the writers' time-outs.

    A worker that is stopped inside its transaction holds the fences of its shards; its successor must not wait for it
    for ever.
    """
    return _with_timeouts(_engine(url, pool_size, pre_ping=True), timeouts)


def _with_timeouts(engine: Engine, timeouts: Mapping[str, str]) -> Engine:
    @event.listens_for(engine, "connect")
    def set_timeouts(dbapi_connection: Any, _record: Any) -> None:
        with dbapi_connection.cursor() as cursor:
            for name, value in timeouts.items():
                cursor.execute("SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s", (value, name))
        dbapi_connection.commit()

    return engine
