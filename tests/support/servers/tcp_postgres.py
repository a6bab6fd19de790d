"""A PostgreSQL that is reached over TCP with a password, by any role: as somebody else's server is."""

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
    """It has a database whose owner, no superuser, is the role of ``owner_url``."""

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

    def make_owner(self) -> None:
        """The role and its database, which is empty."""
        self.sql(f"CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD '{PASSWORD}'")
        self.sql(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What the superuser gets for one statement, which commits by itself."""
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
        """Restart as a hot standby that has lost its primary: it can be read, and takes no writes."""
        self.stop()
        (self.data_dir / "postgres" / "standby.signal").touch()
        self.spawn()
        eventually(self._is_ready, within_s=60, what="the standby lets in readers")

    def promote(self) -> None:
        """Returns once the standby takes writes."""
        assert self.sql("SELECT pg_promote(true, 60)") == [(True,)]
