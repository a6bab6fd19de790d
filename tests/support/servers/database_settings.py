"""Changes the settings of a database, or of a role in it, as an administrator does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import psycopg2
from psycopg2 import sql

HOSTILE = {
    "bytea_output": "escape",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Africa/Monrovia",  # in 1970 it was 44 minutes and 30 seconds behind
    "extra_float_digits": "-15",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "on",
    "standard_conforming_strings": "off",
    "statement_timeout": "7777",
    "lock_timeout": "7777",
    "idle_in_transaction_session_timeout": "7777",
    "idle_session_timeout": "7777",
    "transaction_timeout": "7777",
    "synchronous_commit": "off",
}
"""Each setting is allowed, and was found on some server."""


def set_for_database(url: str, settings: Mapping[str, str], *, for_role: bool = False) -> None:
    """Set them for all future connections to the database of ``url``."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_user")
        database, role = (sql.Identifier(str(name)) for name in cursor.fetchone() or ())
        whose = sql.SQL("DATABASE {}").format(database)
        if for_role:
            whose = sql.SQL("ROLE {} IN DATABASE {}").format(role, database)
        for name, value in settings.items():
            cursor.execute(sql.SQL("ALTER {} SET {} = {}").format(whose, sql.SQL(name), sql.Literal(value)))
