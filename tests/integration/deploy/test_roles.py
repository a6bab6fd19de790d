"""deploy/postgres/roles.sql on a real server: the roles of deploy/compose.yml can do their work, and no more.

Every connection to the database takes the role at once, so that no password and no rule of access is needed. That a
replication connection gets in as the tailer's role is not seen here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from infrastructure.cdc.replication_slot import create_slot, drop_slot, ensure_publication
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.postgres_cluster import create_database
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.observability.dead_rows import show_dead_rows
from infrastructure.postgres import migrations
from infrastructure.postgres.engine import reader_engine, writer_engine
from tests.support.postgres.log_events import events_of
from tests.support.servers.serving import ROOT

OWNER, TAILER = "ridelog", "ridelog_tailer"


class Deployed:
    """A database set up by the script under names of its own: roles are those of the whole server."""

    def __init__(self, server: Postgres) -> None:
        self.name = f"deployed_{uuid.uuid4().hex[:12]}"
        self._server = server
        create_database(server.url, self.name)
        self.url = server.database_url(self.name)
        script = (ROOT / "deploy" / "postgres" / "roles.sql").read_text()
        script = re.sub(r"^\\set .*$", "", script, flags=re.MULTILINE)
        script = re.sub(r":'(\w+)'", r"'secret of \1'", script)
        self._run(re.sub(r"\bridelog", self.name, script))

    def role(self, role: str | None) -> None:
        """The role of all connections from now on; None is the superuser."""
        statement = f"SET ROLE NONE; ALTER DATABASE {self.name} "
        self._run(statement + ("RESET role" if role is None else f"SET role = '{self.of(role)}'"))

    def of(self, role: str) -> str:
        return role.replace("ridelog", self.name, 1)

    def drop(self) -> None:
        with closing(psycopg2.connect(self._server.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
                cursor.execute(f"DROP ROLE {self.of(TAILER)}, {self.of(OWNER)}")

    def _run(self, script: str) -> None:
        with closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in filter(str.strip, script.split(";")):
                    cursor.execute(statement)


@pytest.fixture
def deployed(migrated_postgres: Postgres) -> Iterator[Deployed]:
    migrated_postgres.start()
    one = Deployed(migrated_postgres)
    yield one
    one.drop()


def test_the_owner_migrates_and_appends_and_the_tailers_role_alone_makes_a_slot(deployed: Deployed) -> None:
    deployed.role(OWNER)
    migrations.upgrade(deployed.url)
    writer = writer_engine(deployed.url)
    with writer.connect() as connection:
        assert connection.execute(text("SELECT current_user")).scalar_one() == deployed.name
        attributes = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
        found = connection.execute(text(f"SELECT {attributes} FROM pg_roles WHERE rolname = current_user")).one()
        assert not any(found)
        public = "SELECT count(*) FROM pg_database d, aclexplode(d.datacl) a WHERE datname = current_database() "
        assert connection.execute(text(f"{public} AND a.grantee = 0")).scalar_one() == 0
    # Past the end of the first partition: the writer that appends creates the next one.
    recorder = EventRecorder(writer, partition_rows=5)
    for version in range(1, 13):
        recorder.insert_events(events_of("anna", version, 1))
    writer.dispose()
    owner = reader_engine(deployed.url)
    ensure_publication(owner, "ridelog")
    slot = f"{deployed.name}_slot"
    with pytest.raises(ProgrammingError, match="permission denied to use replication slots"):
        create_slot(owner, slot)
    owner.dispose()

    deployed.role(TAILER)
    tailer = reader_engine(deployed.url)
    try:
        ensure_publication(tailer, "ridelog")
        ensure_publication(tailer, "another")
        create_slot(tailer, slot)
        drop_slot(tailer, slot)
        with tailer.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM events")).scalar_one() == 12
            superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            assert not connection.execute(text(superuser)).scalar_one()
    finally:
        tailer.dispose()


def test_regression_the_api_sees_how_long_the_transactions_of_other_roles_are_open(deployed: Deployed) -> None:
    """Their age was hidden from its role: the alert on them could not fire for a forgotten session of a person."""
    with closing(psycopg2.connect(deployed.url)) as forgotten, forgotten.cursor() as cursor:
        cursor.execute("SELECT txid_current(), current_user")
        (_, role) = cursor.fetchone() or (0, "")
        assert role not in {"", deployed.of(OWNER), deployed.of(TAILER)}
        deployed.role(OWNER)
        owner = reader_engine(deployed.url)
        try:
            with owner.connect() as connection:
                show_dead_rows(connection)
        finally:
            owner.dispose()
    age_s = REGISTRY.get_sample_value("ridelog_oldest_transaction_seconds")
    assert age_s is not None
    assert age_s > 0
