"""Errors of the database as those of the port that a caller knows: the eventsourcing library's, or projections'."""

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
    """Every adapter of the event store raises PersistenceError, whatever SQLAlchemy or psycopg2 had to say."""
    try:
        yield
    except exc.IntegrityError as error:
        raise persistence.IntegrityError(_words(error)) from error
    except exc.OperationalError as error:
        raise persistence.OperationalError(_words(error)) from error
    except exc.InterfaceError as error:
        raise persistence.InterfaceError(_words(error)) from error
    except exc.DBAPIError as error:
        raise persistence.DatabaseError(_words(error)) from error
    # COPY goes past SQLAlchemy, and so do its errors.
    except psycopg2.IntegrityError as error:
        raise persistence.IntegrityError(str(error).strip()) from error
    except psycopg2.OperationalError as error:
        raise persistence.OperationalError(str(error).strip()) from error
    except psycopg2.Error as error:
        raise persistence.DatabaseError(str(error).strip()) from error
    except exc.SQLAlchemyError as error:
        # The pool gave up, or a connection died under it.
        raise persistence.OperationalError(str(error)) from error


@contextmanager
def unavailable_as_port_error() -> Iterator[None]:
    """Refused for data that Postgres cannot take, which no waiting mends; PortUnavailable for everything else."""
    try:
        yield
    except (exc.SQLAlchemyError, psycopg2.Error) as error:
        raise refused_or_away(error.orig if isinstance(error, exc.DBAPIError) else error, error) from error


OF_THE_DATA = ("22", "54")
"""SQLSTATE classes: data exception, program limit exceeded.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""


def refused_or_away(
    original: BaseException | None, error: BaseException, of_the_data: tuple[str, ...] = OF_THE_DATA
) -> Exception:
    """By the SQLSTATE of the driver's error: an error of data is never taken for a server that is away."""
    words = (str(original or error).splitlines() or [type(error).__name__])[0]
    code = getattr(original, "pgcode", None) or ""
    return SinkRejected(f"{words} ({code})") if code[:2] in of_the_data else PortUnavailable(f"Postgres: {words}")


def _words(error: exc.DBAPIError) -> str:
    return str(error.orig).strip() or str(error)


_OF_THE_CONTENT = (*OF_THE_DATA, "23")
"""With integrity constraint violations: a sink's compare-and-set leaves no race that would explain one."""


@contextmanager
def sink_errors() -> Iterator[None]:
    """Refused for content that does not fit; PortUnavailable for everything else, a lost deadlock included."""
    try:
        yield
    except DBAPIError as error:
        raise rejected_or_unavailable(error.orig, error) from error
    except SQLAlchemyError as error:
        raise PortUnavailable(f"Postgres: {str(error).splitlines()[0]}") from error


def rejected_or_unavailable(original: BaseException | None, error: BaseException) -> Exception:
    """By the SQLSTATE of the driver's error."""
    return refused_or_away(original, error, _OF_THE_CONTENT)
