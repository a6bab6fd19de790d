"""Errors of the database as those of the port that a caller knows: the eventsourcing library's, or projections'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from eventsourcing import persistence
from sqlalchemy import exc

from projections.ports import PortUnavailable


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
    """What a projection asks of Postgres either works or is asked again later."""
    try:
        yield
    except (exc.SQLAlchemyError, psycopg2.Error) as error:
        raise PortUnavailable(f"Postgres: {str(error).splitlines()[0]}") from error


def _words(error: exc.DBAPIError) -> str:
    return str(error.orig).strip() or str(error)
