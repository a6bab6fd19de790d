"""Real servers for tests: started once for each session, with a database of its own for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.tansu import Tansu
from tests.support.waiting import eventually

TEMPLATE = "ridelog_template"
# kill -9 of a server loses nothing that it has written to the kernel; only a power cut does.
UNDURABLE = {"fsync": "off", "full_page_writes": "off"}
# The files of a session's server may be in memory: WAL that is recycled rarely would fill it.
OF_A_SESSION = {**UNDURABLE, "max_wal_size": "512MB"}
SHARED_POSTGRES, SHARED_KAFKA = "RIDELOG_TEST_SHARED_POSTGRES", "RIDELOG_TEST_SHARED_KAFKA"
"""Environment variables: the directory of a PostgreSQL, and the port of a broker, that another process has started.
The session uses them instead of servers of its own."""


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


class SharedPostgres(Postgres):
    """A server that another process starts and stops. A test that stops it fails."""

    def start(self, timeout_s: float = 60.0) -> None:
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float = 120.0) -> None:
        eventually(self._is_ready, within_s=timeout_s, what="the shared PostgreSQL answers")


class SharedTansu(Tansu):
    """A broker that another process starts and stops."""

    def start(self, timeout_s: float = 60.0) -> None:
        return


def session_postgres(data_dir: Path) -> Postgres:
    """The PostgreSQL of a session, to be started: a shared one if the environment names it."""
    if shared := os.environ.get(SHARED_POSTGRES):
        return SharedPostgres(Path(shared), UNDURABLE)
    return Postgres(data_dir, OF_A_SESSION)


def session_kafka(data_dir: Path) -> Tansu:
    """The broker of a session, to be started: a shared one if the environment names it."""
    if shared := os.environ.get(SHARED_KAFKA):
        return SharedTansu(data_dir, int(shared))
    return Tansu(data_dir)


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
        # By its files: by the WAL, as is the default, making and dropping one takes twice the CPU.
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
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
