"""Translates database errors to the port's errors: the eventsourcing library's, or those of projections.

For projections it separates what Postgres rejects because of the data (permanent) from everything else (transient).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from eventsourcing import persistence
from sqlalchemy import exc
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from projections.core.ports import PortUnavailable, SinkRejected


@contextmanager
def as_library_errors() -> Iterator[None]:
    """Converts any error of SQLAlchemy and psycopg2 to a PersistenceError of the library."""
    try:
        yield
    except exc.IntegrityError as error:
        raise persistence.IntegrityError(_message(error)) from error
    except exc.OperationalError as error:
        raise persistence.OperationalError(_message(error)) from error
    except exc.InterfaceError as error:
        raise persistence.InterfaceError(_message(error)) from error
    except exc.DBAPIError as error:
        raise persistence.DatabaseError(_message(error)) from error
    # COPY bypasses SQLAlchemy, and so do its errors.
    except psycopg2.IntegrityError as error:
        raise persistence.IntegrityError(str(error).strip()) from error
    except psycopg2.OperationalError as error:
        raise persistence.OperationalError(str(error).strip()) from error
    except psycopg2.Error as error:
        raise persistence.DatabaseError(str(error).strip()) from error
    except exc.SQLAlchemyError as error:
        # The pool timed out, or a connection of it was lost.
        raise persistence.OperationalError(str(error)) from error


@contextmanager
def unavailable_as_port_error() -> Iterator[None]:
    """Converts database errors: SinkRejected for data that Postgres can never store, else PortUnavailable."""
    try:
        yield
    except (exc.SQLAlchemyError, psycopg2.Error) as error:
        original = error.orig if isinstance(error, exc.DBAPIError) else error
        raise _rejected_or_unavailable(original, error, OF_THE_DATA) from error


OF_THE_DATA = ("22", "54")
"""SQLSTATE classes: data exception, program limit exceeded.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""


def _rejected_or_unavailable(
    original: BaseException | None, error: BaseException, of_the_data: tuple[str, ...]
) -> Exception:
    """Classifies by the SQLSTATE of the driver's error.

    Invariant 16: an error of data never counts as an unavailable server.
    """
    message = (str(original or error).splitlines() or [type(error).__name__])[0]
    code = getattr(original, "pgcode", None) or ""
    return SinkRejected(f"{message} ({code})") if code[:2] in of_the_data else PortUnavailable(f"Postgres: {message}")


def _message(error: exc.DBAPIError) -> str:
    return str(error.orig).strip() or str(error)


_OF_THE_CONTENT = (*OF_THE_DATA, "23")
"""Also integrity constraint violations: after a sink's compare-and-set no race can explain one."""


@contextmanager
def sink_errors() -> Iterator[None]:
    """Converts errors of a sink: SinkRejected for content that does not fit, else PortUnavailable (also a deadlock)."""
    try:
        yield
    except DBAPIError as error:
        raise rejected_or_unavailable(error.orig, error) from error
    except SQLAlchemyError as error:
        raise PortUnavailable(f"Postgres: {str(error).splitlines()[0]}") from error


def rejected_or_unavailable(original: BaseException | None, error: BaseException) -> Exception:
    """Classifies an error of a sink by the SQLSTATE of the driver's error."""
    return _rejected_or_unavailable(original, error, _OF_THE_CONTENT)
