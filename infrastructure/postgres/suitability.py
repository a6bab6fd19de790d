"""Rejects a database that would lose or mix up data: by its encoding, or by a transaction pooler in front of it."""

from __future__ import annotations

from contextlib import ExitStack

from sqlalchemy import Connection, text

from infrastructure.errors import UserError
from infrastructure.postgres.engine import reader_engine

ROUNDS = 3
"""A pooler gives a client the server connection that it used last. Other clients may use it in between."""

_ENCODING = text("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()")
_BACKEND = text("SELECT pg_backend_pid()")


def refuse_unsuitable(url: str) -> None:
    """Raises UserError for a database that is not UTF-8 or that is behind a transaction pooler; SQLAlchemyError."""
    engine = reader_engine(url, pool_size=2)
    try:
        with ExitStack() as stack:
            options = engine.execution_options(isolation_level="AUTOCOMMIT")
            one, two = (stack.enter_context(options.connect()) for _ in range(2))
            _refuse_other_encoding(one)
            _refuse_shared_backends(one, two)
    finally:
        engine.dispose()


def _refuse_other_encoding(connection: Connection) -> None:
    encoding = connection.execute(_ENCODING).scalar_one()
    if encoding != "UTF8":
        raise UserError(
            f"the database has the encoding {encoding}, which cannot hold every rider's id: make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in RIDELOG_POSTGRES_URL"
        )


def _refuse_shared_backends(one: Connection, two: Connection) -> None:
    """A direct client has a backend of its own for as long as it is connected.

    So has a client of a pooler with ``pool_mode=session``. Otherwise the lock of the one relay is held by a backend
    that other clients use too, and its time-outs apply to theirs.
    """
    first: tuple[int, ...] | None = None
    for _ in range(ROUNDS):
        backends = tuple(int(connection.execute(_BACKEND).scalar_one()) for connection in (one, two))
        first = first or backends
        if backends != first or backends[0] == backends[1]:
            raise UserError(
                "RIDELOG_POSTGRES_URL leads through a pooler that gives each transaction another connection of the "
                "server (pgbouncer: pool_mode=transaction): locks and time-outs of a session do not hold there; name "
                "the server itself, or a pooler with pool_mode=session (docs/deploy.md)"
            )
