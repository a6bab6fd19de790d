"""A PostgreSQL that every role reaches over TCP with a password, as an external server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2

from infrastructure.embedded.child_process import ProcessSpec
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.server import free_port
from tests.support.servers.servers import UNDURABLE
from tests.support.waiting import eventually

ROLE, PASSWORD, DATABASE = "rider", "owner-secret", "riding"


class TcpPostgres(Postgres):
    """Has a database that is owned by the role of ``owner_url``, which is not a superuser."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, UNDURABLE | {"max_connections": "60"})
        self._port = free_port()

    def _prepare(self) -> ProcessSpec:
        spec = super()._prepare()
        with (self.data_dir / "postgres" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 127.0.0.1/32 scram-sha-256\n")
        return spec

    @property
    def owner_url(self) -> str:
        return f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{self._port}/{DATABASE}"

    def create_owner(self) -> None:
        """Create the role and its empty database."""
        self.sql(f"CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD '{PASSWORD}'")
        self.sql(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The superuser's result of one statement, which commits on its own."""
        connection = psycopg2.connect(self.database_url(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def end_sessions(self) -> None:
        """End every session of the owner, replication included, as a failover does."""
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")

    def become_standby(self) -> None:
        """Restart as a hot standby without a primary: it can be read, and rejects writes."""
        self.stop()
        (self.data_dir / "postgres" / "standby.signal").touch()
        self.spawn()
        eventually(self._is_ready, within_s=60, what="the standby accepts readers")

    def promote(self) -> None:
        """Promote the standby. Returns once it accepts writes."""
        assert self.sql("SELECT pg_promote(true, 60)") == [(True,)]
