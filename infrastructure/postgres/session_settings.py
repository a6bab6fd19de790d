"""Session settings that our connections always set, overriding the server, the database and the role."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Session
from sqlalchemy import Engine, event

TEXT_FORMS = {
    # Rows of the WAL and of the driver's results are parsed as text in these formats.
    "bytea_output": "hex",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    # The shortest text that gives the same double. With 0 or less, digits are lost.
    "extra_float_digits": "1",
}
SEMANTICS = {
    # The log's lock is a row that every writer waits for: with a snapshot from before the wait each one would fail.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A policy that hides rows must be an error: hidden events would look like gaps in the log.
    "row_security": "off",
}
UNBOUNDED = {
    # A limit meant for interactive users would end every attempt of a migration, a rebuild or an export.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
SINCE = {"transaction_timeout": 170_000}
"""Server versions that a setting needs, as in ``server_version_num``."""

_SYNCHRONOUS = (
    # Invariant 2: a commit that is not yet on disk must not be acknowledged.
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, false)"
)
_OPTION = re.compile(r"(?:-c\s*|--)(?P<name>[A-Za-z_.-]+)=")


def opened(parameters: Mapping[str, Any]) -> Session:
    """Opens a connection with libpq's ``parameters``, on which a backslash in a literal is a backslash.

    Set at its start where it is not so: a driver that was connected before would go on to double them. Raises
    psycopg2.Error.
    """
    session: Session = psycopg2.connect(**parameters)
    if session.get_parameter_status("standard_conforming_strings") != "off":
        return session
    session.close()
    options = options_of(parameters)
    again: Session = psycopg2.connect(
        **dict(parameters) | {"options": f"{options} -c standard_conforming_strings=on".lstrip()}
    )
    return again


def options_of(parameters: Mapping[str, Any]) -> str:
    """Returns the server options of a connection with ``parameters``, as libpq determines them."""
    return str(parameters.get("options") or os.environ.get("PGOPTIONS", ""))


def prepare(session: Session, timeouts: Mapping[str, str], options: str = "") -> None:
    """Sets all settings above and ``timeouts`` for the session, in one statement.

    Without default_transaction_read_only: it fences a primary off, and is respected. ``options``: see ``options_of``; a
    time limit that they name is not changed. Raises psycopg2.Error.
    """
    named = {match["name"].replace("-", "_").lower() for match in _OPTION.finditer(options)}
    limits = {name: value for name, value in UNBOUNDED.items() if name not in named} | dict(timeouts)
    settings = {**TEXT_FORMS, **SEMANTICS, **limits}
    known = {name: value for name, value in settings.items() if session.server_version >= SINCE.get(name, 0)}
    calls = ", ".join(["set_config(%s, %s, false)"] * len(known))
    with session.cursor() as cursor:
        cursor.execute(f"SELECT {calls}, {_SYNCHRONOUS}", [one for pair in known.items() for one in pair])
    session.commit()


def prepare_each(engine: Engine, timeouts: Mapping[str, str]) -> None:
    """Makes ``engine`` open each connection with ``opened`` and ``prepare``.

    Both come before SQLAlchemy reads the isolation level that it takes for the default.
    """

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> Any:
        connection = opened(parameters)
        prepare(connection, timeouts, options_of(parameters))
        return connection


def for_replication() -> list[str]:
    """Returns the statements for a replication connection, where ``prepare`` does not work."""
    limits = dict.fromkeys(("statement_timeout", "idle_session_timeout"), "0")
    return [f"SET {name} = '{value}'" for name, value in (TEXT_FORMS | limits).items()]
