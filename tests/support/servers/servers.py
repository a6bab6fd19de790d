"""Real servers for tests: started once for each session, with a database of its own for each test."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from infrastructure.embedded.postgres import Postgres
from tests.support.waiting import eventually

TEMPLATE = "ridelog_template"
# kill -9 of a server loses nothing that it has written to the kernel; only a power cut does.
UNDURABLE = {"fsync": "off", "full_page_writes": "off"}
PREPARED_POSTGRES = "RIDELOG_TEST_PREPARED_POSTGRES"
"""Environment variable: directory of a stopped server with the template. Parallel sessions start from copies of it."""


class StartableServer(Protocol):
    """One embedded server, or a cluster of them."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


S = TypeVar("S", bound=StartableServer)


@contextmanager
def running(server: S) -> Iterator[S]:
    """The server, started here and stopped at the end."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def prepare_postgres(data_dir: Path) -> None:
    """Create a server's directory with the template, for ``copy_prepared_postgres``."""
    server = Postgres(data_dir, UNDURABLE)
    with running(server):
        make_template(server)


def copy_prepared_postgres(data_dir: Path) -> None:
    """Put the prepared server's files into ``data_dir``, if the environment names one: no initdb, no migrations."""
    if prepared := os.environ.get(PREPARED_POSTGRES):
        # Keep the owner: for root, the server runs as another user. The password file is the one that initdb got.
        files = [str(path) for name in ("postgres", "postgres.password") if (path := Path(prepared, name)).exists()]
        subprocess.run(["cp", "-Rp", *files, str(data_dir)], check=True)


def make_template(server: Postgres) -> None:
    """Create a migrated database to copy for each test. Migrating each one would take most of a test's time."""
    from infrastructure.postgres.migrations import upgrade

    with _administration(server) as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (TEMPLATE,))
        if cursor.fetchone() != (0,):
            return
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    upgrade(server.database_url(TEMPLATE))


@contextmanager
def fresh_database(server: Postgres, template: str = TEMPLATE) -> Iterator[str]:
    """The URL of a new database from the template. It is dropped at the end, with its replication slots."""
    server.start()
    name = f"test_{uuid.uuid4().hex[:12]}"
    with _administration(server) as cursor:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        cursor.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield server.database_url(name)
    finally:
        server.start()
        with _administration(server) as cursor:
            # Slots first: they retain the WAL of the whole server, and a database with slots cannot be dropped.
            eventually(lambda: _slots_dropped(cursor, name), what=f"the slots of {name} are dropped")
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _slots_dropped(cursor: Cursor, database: str) -> bool:
    cursor.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = %s AND active",
        (database,),
    )
    cursor.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s AND NOT active",
        (database,),
    )
    cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE database = %s", (database,))
    return bool(cursor.fetchone() == (0,))


@contextmanager
def _administration(server: Postgres) -> Iterator[Cursor]:
    with closing(psycopg2.connect(server.database_url("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
