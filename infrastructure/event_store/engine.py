"""Connections to Postgres: one engine for writers, whose time at the lock is bounded, and one for readers."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from infrastructure.event_store import session
from infrastructure.event_store.hosts import libpq_parameters, preferred_server, with_hosts_in_query
from infrastructure.event_store.overdue import APPLICATION
from infrastructure.event_store.unusable import discard_unusable
from infrastructure.user_error import UserError

LIVENESS = {
    "connect_timeout": "10",
    # A host that is gone says nothing: without these its connections would be waited for for hours, and the one thread
    # that writes with them, while the new primary is up.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
ENCODING = {"client_encoding": "utf8"}
"""Whatever the environment, the database or the URL says: ids of riders are UTF-8."""
WRITER_TIMEOUTS = {
    # A writer stopped inside its transaction (SIGSTOP, a paused VM) would hold the log's lock for ever.
    "transaction_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "20s",
}


def sqlalchemy_url(url: str, setting: str = "RIDELOG_POSTGRES_URL") -> URL:
    """A libpq-style URL as SQLAlchemy wants it, always through psycopg2 (it speaks the replication protocol).

    Raises UserError for a text that is no URL, naming the ``setting``.
    """
    try:
        address = make_url(with_hosts_in_query(url)).set(drivername="postgresql+psycopg2")
        libpq_parameters(address)
        return address
    except (ArgumentError, ValueError):
        # Without its words, which may quote a password.
        raise UserError(
            f"{setting} is no URL of a database, such as postgresql://user:password@host:5432/name"
        ) from None


def connect_args(url: URL) -> dict[str, str]:
    """libpq's parameters of every connection; what ``url`` says of them wins, but for the encoding."""
    ours = {name: value for name, value in LIVENESS.items() if name not in url.query}
    return ours | ENCODING | preferred_server(url)


def reader_engine(url: str, pool_size: int = 5) -> Engine:
    """Connections are tried before each use: a reader need not know that the server was restarted."""
    return _engine(url, pool_size, {}, pre_ping=True)


def _engine(url: str, pool_size: int, timeouts: Mapping[str, str], *, pre_ping: bool) -> Engine:
    address = sqlalchemy_url(url)
    engine = create_engine(
        address,
        pool_size=pool_size,
        max_overflow=10,
        pool_pre_ping=pre_ping,
        connect_args=connect_args(address) | {"application_name": APPLICATION},
    )
    session.prepare_each(engine, timeouts)
    discard_unusable(engine)
    return engine


def writer_engine(url: str, pool_size: int = 5, timeouts: Mapping[str, str] = WRITER_TIMEOUTS) -> Engine:
    """Connections with the time-outs above, as far as the server knows them (transaction_timeout: 17).

    Not tried before each use: that was 7 % of ingest's CPU, and after a restart of the server it is enough that the
    first batch fails, since it is answered with 503 and a ping sent again is recorded once.
    """
    return _engine(url, pool_size, timeouts, pre_ping=False)


def sink_engine(url: str, pool_size: int = 2, timeouts: Mapping[str, str] = WRITER_TIMEOUTS) -> Engine:
    """For sinks in Postgres: tried before each use, and with the writers' time-outs.

    A worker that is stopped inside its transaction holds the fences of its shards; its successor must not wait for it
    for ever.
    """
    return _engine(url, pool_size, timeouts, pre_ping=True)
