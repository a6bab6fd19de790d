"""Engines for Postgres: for writers, whose time at the log's lock is bounded, for readers and for sinks.

Also ends transactions that are past their timeout where the server does not. A backend that reads COPY data from its
client checks none of its timeouts (``ProcessClientReadInterrupt`` of PostgreSQL 18). A process that is stopped at that
point (SIGSTOP, a paused VM) therefore keeps its locks until it resumes: those of its shards, or the log's own. Another
process that waited for such a lock until ``lock_timeout`` terminates that backend, and finds the lock free next time.

One URL may name several servers; the one that accepts writes is used.
"""

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
    """Selects the server that accepts writes, if ``url`` names several and does not choose itself.

    A standby would be treated as a server that is read-only for a while, and would be retried for ever.
    """
    several = "," in libpq_parameters(url).get("host", "")
    if not several or "target_session_attrs" in url.query or "PGTARGETSESSIONATTRS" in os.environ:
        return {}
    return {"target_session_attrs": "read-write"}


log = logging.getLogger("ridelog.postgres")

LOCK_NOT_AVAILABLE = "55P03"
APPLICATION = "ridelog"
"""The application_name of the backends that may be terminated."""

_END = text(
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND application_name = :application"
    "  AND state = 'active' AND wait_event = 'ClientRead'"
    # This session's timeout equals theirs. Before PostgreSQL 17 there is no such setting.
    "  AND xact_start < clock_timestamp() - coalesce(current_setting('transaction_timeout', true), '30s')::interval"
)


@contextmanager
def terminating_overdue_backends(engine: Engine) -> Iterator[None]:
    """Terminates the backends that may hold a lock for ever, if the block fails by lock timeout. Re-raises."""
    try:
        yield
    except (exc.DBAPIError, psycopg2.Error) as error:
        if is_lock_timeout(error.orig if isinstance(error, exc.DBAPIError) else error):
            terminate_overdue_backends(engine)
        raise


def is_lock_timeout(error: BaseException | None) -> bool:
    return getattr(error, "pgcode", None) == LOCK_NOT_AVAILABLE


def terminate_overdue_backends(engine: Engine) -> int:
    """Terminates our backends that are past their timeout. Returns how many.

    ``engine`` is one of this module: its ``transaction_timeout`` defines what is overdue.
    """
    with engine.connect() as connection:
        ended = connection.execute(_END, {"application": APPLICATION}).all()
    for pid, _ in ended:
        log.error(
            "terminated a transaction that was past its timeout and whose client sent nothing", extra={"backend": pid}
        )
    return len(ended)


LIVENESS = {
    "connect_timeout": "10",
    # A failed host sends no error. Without these settings its connections, and the one writer thread, would hang for
    # hours after the new primary is up.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
ENCODING = {"client_encoding": "utf8"}
"""Overrides the environment, the database and the URL: rider ids are UTF-8."""
WRITER_TIMEOUTS = {
    # A writer stopped inside its transaction (SIGSTOP, a paused VM) would hold the log's lock for ever.
    "transaction_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "20s",
}


def connect_args(url: URL) -> dict[str, str]:
    """Returns libpq's parameters of every connection. Parameters in ``url`` win, except the encoding."""
    ours = {name: value for name, value in LIVENESS.items() if name not in url.query}
    return ours | ENCODING | preferred_server(url)


def reader_engine(url: str, pool_size: int = 5) -> Engine:
    """Engine for readers. Connections are tested before each use, so a restart of the server needs no handling."""
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
    """Engine for writers, with the timeouts above that the server knows (transaction_timeout: since 17).

    Connections are not tested before each use, which cost 7 % of ingest's CPU. After a restart of the server the first
    batch fails instead: it is answered with 503, and a ping that is sent again is recorded once.
    """
    return _engine(url, pool_size, timeouts, pre_ping=False)


def sink_engine(url: str, pool_size: int = 2, timeouts: Mapping[str, str] = WRITER_TIMEOUTS) -> Engine:
    """Engine for sinks in Postgres: connections are tested before each use and have the writers' timeouts.

    A worker that is stopped inside its transaction holds the locks of its shards. Its successor must not wait for ever.
    """
    return _engine(url, pool_size, timeouts, pre_ping=True)
