"""Connections to Postgres: one engine for writers, whose time at the lock is bounded, and one for readers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg2
from sqlalchemy import Engine, create_engine, exc, text
from sqlalchemy.engine import URL

from infrastructure.postgres import session_settings as session
from infrastructure.postgres.broken_connections import discard_unusable
from infrastructure.settings.postgres_url import libpq_parameters, sqlalchemy_url


def preferred_server(url: URL) -> dict[str, str]:
    """Of several servers the one that takes writes, unless the URL or the environment says otherwise.

    A standby would be taken for a server that is read-only for a while, and be asked for ever.
    """
    several = "," in libpq_parameters(url).get("host", "")
    if not several or "target_session_attrs" in url.query or "PGTARGETSESSIONATTRS" in os.environ:
        return {}
    return {"target_session_attrs": "read-write"}


log = logging.getLogger("ridelog.postgres")

LOCK_NOT_AVAILABLE = "55P03"
APPLICATION = "ridelog"
"""The application_name of those who may be ended so."""

_END = text(
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND application_name = :application"
    "  AND state = 'active' AND wait_event = 'ClientRead'"
    # Ours to have, as theirs; before PostgreSQL 17 there is no such setting.
    "  AND xact_start < clock_timestamp() - coalesce(current_setting('transaction_timeout', true), '30s')::interval"
)


@contextmanager
def terminating_overdue_backends(engine: Engine) -> Iterator[None]:
    """When the block fails for a lock that did not come: end who may hold it for ever. Raises what the block raised."""
    try:
        yield
    except (exc.DBAPIError, psycopg2.Error) as error:
        if is_lock_timeout(error.orig if isinstance(error, exc.DBAPIError) else error):
            terminate_overdue_backends(engine)
        raise


def is_lock_timeout(error: BaseException | None) -> bool:
    return getattr(error, "pgcode", None) == LOCK_NOT_AVAILABLE


def terminate_overdue_backends(engine: Engine) -> int:
    """How many there were. ``engine`` has the time-outs of ``event_store.engine``."""
    with engine.connect() as connection:
        ended = connection.execute(_END, {"application": APPLICATION}).all()
    for pid, _ in ended:
        log.error("ended a transaction that was past its time while its client sent nothing", extra={"backend": pid})
    return len(ended)


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
