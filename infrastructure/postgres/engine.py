"""Connections to Postgres: one engine for writers, whose time at the lock is bounded, and one for readers."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

import psycopg2
from sqlalchemy import Engine, create_engine, exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from infrastructure.errors import UserError
from infrastructure.postgres import session_settings as session
from infrastructure.postgres.broken_connections import discard_unusable

PORT = "5432"
# libpq's form, a port with each host. SQLAlchemy reads several hosts with one port for all, and several in the query.
_SERVERS = re.compile(r"(?P<head>[^:/?#]+://(?:.*@)?)(?P<servers>[^/?#@]*,[^/?#@]*)(?P<tail>[/?].*)?", re.DOTALL)
_SERVER = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>\d*))?")


def with_hosts_in_query(url: str) -> str:
    """``…@h1:1,h2:2/db`` as ``…@/db?host=h1,h2&port=1,2``; any other URL as it is."""
    found = _SERVERS.fullmatch(url)
    if found is None:
        return url
    servers = [_SERVER.fullmatch(one) for one in found["servers"].split(",")]
    known = [one for one in servers if one is not None]
    if len(known) < len(servers) or (found["servers"].count(":") < 2 and "[" not in found["servers"]):
        return url
    hosts = ",".join(one["v6"] or one["name"] for one in known)
    ports = ",".join(one["port"] or PORT for one in known)
    tail = found["tail"] or "/"
    tail = tail if tail.startswith("/") else f"/{tail}"
    return f"{found['head']}{tail}{'&' if '?' in tail else '?'}host={quote(hosts, safe=',')}&port={ports}"


def libpq_parameters(url: URL) -> dict[str, str]:
    """What SQLAlchemy hands to libpq for ``url``, for a connection that is not of an engine.

    Raises ArgumentError for hosts that do not fit their ports.
    """
    _, parameters = url.get_dialect()().create_connect_args(url)
    return {name: str(value) for name, value in parameters.items()}


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
