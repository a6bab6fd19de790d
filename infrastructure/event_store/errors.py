"""Errors of the database as the eventsourcing library's, so that callers need to know only one kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing import persistence
from sqlalchemy import exc


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
    except exc.SQLAlchemyError as error:
        # The pool gave up, or a connection died under it.
        raise persistence.OperationalError(str(error)) from error


def _words(error: exc.DBAPIError) -> str:
    return str(error.orig).strip() or str(error)
