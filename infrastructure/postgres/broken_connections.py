"""Decides after which errors a connection to Postgres must not be used again, and discards it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import ExceptionContext

_CONNECTION_EXCEPTION = "08"
_UNUSABLE = frozenset(
    {
        "25006",  # read_only_sql_transaction: opened on a standby, or while the server was read-only
        "25P03",  # idle_in_transaction_session_timeout
        "25P04",  # transaction_timeout
        "53300",  # too_many_connections
        "55000",  # object_not_in_prerequisite_state: "recovery is in progress", from functions of the WAL
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P04",  # database_dropped
        "57P05",  # idle_session_timeout
        "XX000",  # internal_error: "cannot assign TransactionIds during recovery"
    }
)
"""SQLSTATEs that concern the session or the server, not the statement.

The same statement can succeed on a new connection, and on this one perhaps never. Codes are compared, not messages,
because servers translate messages. https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

_MODE = text("SELECT current_setting('transaction_read_only') = 'on', pg_is_in_recovery()")


def is_unusable_after(error: BaseException | None) -> bool:
    """Returns whether the SQLSTATE of a driver's error means that the connection must be discarded."""
    code = getattr(error, "pgcode", None) or ""
    return code in _UNUSABLE or code.startswith(_CONNECTION_EXCEPTION)


def discard_unusable(engine: Engine) -> None:
    """Makes the pool of ``engine`` replace every connection after such an error.

    Every one, because a failover affects all: a pool that keeps the others fails once for each. Without this, a
    session that began read-only fails every append while the pool keeps it (test_failover).
    """

    @event.listens_for(engine, "handle_error")
    def check(context: ExceptionContext) -> None:
        if is_unusable_after(context.original_exception):
            context.is_disconnect = True


@contextmanager
def discarding_unusable(connection: Connection) -> Iterator[None]:
    """The same for statements that bypass SQLAlchemy, such as COPY. Raises what the block raises.

    An error without an SQLSTATE does not come from the server, and mostly means that the connection is lost. If that
    were kept, the rollback would fail on it, and its "connection already closed" would hide why.
    """
    try:
        yield
    except psycopg2.Error as error:
        if error.pgcode is None or is_unusable_after(error):
            discard(connection)
        raise


def discard(connection: Connection) -> None:
    """Closes ``connection``, and makes its pool open new connections from now on."""
    connection.invalidate()
    connection.engine.dispose()


def refuses_writes(connection: Connection) -> str:
    """Returns why the session of ``connection`` cannot write, "" if it can. Raises SQLAlchemyError."""
    read_only, in_recovery = connection.execute(_MODE).one()
    if in_recovery:
        return "the server is a standby and read-only: no event can be recorded until it is promoted"
    if read_only:
        return "the session is read-only (default_transaction_read_only): no event can be recorded"
    return ""
