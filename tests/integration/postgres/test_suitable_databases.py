"""Which databases are refused, and how those are reached that have several hosts or a pooler in front."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from infrastructure.cdc.replication_slot import SlotUnusable
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.server import free_port
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.settings.postgres_url import libpq_parameters, sqlalchemy_url
from infrastructure.settings.settings import Settings
from tests.support.postgres.log_events import events_of
from tests.support.relay.relay_life import Life, relay_of
from tests.support.relay.relay_load import with_topics
from tests.support.servers.nodes import TOKENS, ServeNode
from tests.support.servers.pooler import pooler
from tests.support.servers.servers import fresh_database
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually
from tests.support.worlds.command_line import run_here

SERVE = ("serve", "--port", "0")


def the_line(arguments: tuple[str, ...], url: str, cwd: Path, **more: str) -> str:
    """The one line that the command says on standard error before it ends with exit code 1."""
    done = run_here(arguments, {"RIDELOG_POSTGRES_URL": url} | more, cwd)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@contextmanager
def encoded(server: Postgres, encoding: str) -> Iterator[str]:
    """The URL of an empty database with that encoding."""
    name = f"test_{encoding.lower()}_{uuid.uuid4().hex[:8]}"
    make = sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
    with closing(psycopg2.connect(server.database_url("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(make.format(sql.Identifier(name), sql.Literal(encoding)))
            yield server.database_url(name)
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
@pytest.mark.parametrize("arguments", [("migrate",), SERVE], ids=["migrate", "serve"])
def test_regression_a_database_that_is_not_utf_8_is_refused(
    postgres_server: Postgres, tmp_path: Path, encoding: str, arguments: tuple[str, ...], redis_url: str
) -> None:
    """It was migrated, and each batch with a rider's id that it cannot hold failed."""
    with encoded(postgres_server, encoding) as url:
        line = the_line(arguments, url, tmp_path, RIDELOG_REDIS_URL=redis_url)
    assert f"has the encoding {encoding}" in line
    assert "ENCODING 'UTF8'" in line


@pytest.mark.parametrize("arguments", [("migrate",), SERVE], ids=["migrate", "serve"])
def test_regression_a_transaction_pooler_is_refused(
    postgres_url: str, tmp_path: Path, arguments: tuple[str, ...], redis_url: str
) -> None:
    """Two polling relays ran at once, and our time-outs applied to the transactions of other clients."""
    with pooler(postgres_url, of_transactions=True) as url:
        line = the_line(arguments, url, tmp_path, RIDELOG_REDIS_URL=redis_url)
    assert "pool_mode=transaction" in line
    assert "docs/deploy.md" in line


def test_a_session_pooler_is_as_good_as_the_server(postgres_url: str, tmp_path: Path) -> None:
    with pooler(postgres_url, of_transactions=False) as url:
        done = run_here(["migrate"], {"RIDELOG_POSTGRES_URL": url}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout


@pytest.fixture
def pgbouncer(postgres_url: str) -> Iterator[str]:
    """The URL of the database through pgbouncer's transaction pooling; skips where there is no pgbouncer."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("pgbouncer is not here: apt-get install pgbouncer")
    # Both not under tmp_path, which is closed to the user that pgbouncer runs as where we are root.
    with tempfile.TemporaryDirectory(prefix="pgbouncer") as name, pooler(postgres_url, of_transactions=False) as url:
        folder, port, where = Path(name), free_port(), libpq_parameters(sqlalchemy_url(url))
        to = " ".join(f"{one}={where[one]}" for one in ("host", "port", "dbname", "user", "password") if one in where)
        (folder / "users.txt").write_text('"ridelog" "secret"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\nridelog = {to}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir =\nauth_type = plain\nauth_file = {folder}/users.txt\npool_mode = transaction\n"
        )
        command = [program, str(folder / "pgbouncer.ini")]
        if os.geteuid() == 0:
            folder.chmod(0o755)
            command[1:1] = ["-u", "nobody"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        through = f"postgresql://ridelog:secret@127.0.0.1:{port}/ridelog"
        try:
            eventually(lambda: connects(through), what="pgbouncer answers")
            yield through
        finally:
            process.terminate()
            process.wait(scaled_s(10))


def connects(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_pgbouncer_with_pool_mode_transaction_is_refused(pgbouncer: str, tmp_path: Path) -> None:
    assert "pool_mode=transaction" in the_line(("migrate",), pgbouncer, tmp_path)


def hosts_of(url: str, form: str) -> str:
    """``url`` with a host in front that nothing listens on, in one of the forms that several hosts may have."""
    where, nothing = libpq_parameters(sqlalchemy_url(url)), free_port()
    port = where.get("port", "5432")
    user, database = where["user"], where["dbname"]
    if "password" in where:
        user += f":{where['password']}"
    return form.format(user=user, database=database, host=where["host"], port=port, nothing=nothing)


FORMS = {
    "host and port, each with commas": "postgresql://{user}@/{database}?host=127.0.0.1,{host}&port={nothing},{port}",
    "a host each": "postgresql://{user}@/{database}?host=127.0.0.1:{nothing}&host={host}:{port}",
    "as libpq": "postgresql://{user}@127.0.0.1:{nothing},{host}:{port}/{database}",
    "IPv6": "postgresql://{user}@[::1]:{nothing},{host}:{port}/{database}?target_session_attrs=primary",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_regression_several_hosts_work_for_the_replication_connection_too(settings: Settings, form: str) -> None:
    """It was given the URL as written, which libpq reads differently than the engine."""
    assert settings.postgres_url is not None
    with pooler(settings.postgres_url, of_transactions=False) as over_tcp:
        one = msgspec.structs.replace(settings, postgres_url=hosts_of(over_tcp, form))
        with with_topics(one) as engine:
            EventRecorder(engine).insert_events(events_of("anna", 1, 10))
            life = Life(one, engine)
            life.until_acknowledged(10)
            life.end()


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with with_topics(settings) as one:
        yield one


def test_the_replication_connection_has_a_url_of_its_own(settings: Settings, engine: Engine) -> None:
    assert settings.postgres_url is not None
    address = make_url(settings.postgres_url)
    named = address.update_query_dict({"application_name": "replication"}).render_as_string(False)
    one = msgspec.structs.replace(settings, postgres_replication_url=named)
    EventRecorder(engine).insert_events(events_of("anna", 1, 10))
    life = Life(one, engine)
    life.until_acknowledged(10)
    with engine.connect() as connection:
        query = text(
            "SELECT application_name FROM pg_stat_replication r JOIN pg_replication_slots s"
            " ON s.active_pid = r.pid WHERE slot_name = :slot"
        )
        assert connection.execute(query, {"slot": one.slot_name}).scalar_one() == "replication"
    # The first events are older than the slot. Those from now on come through it, and not from the table.
    filled = life.progress.filled
    EventRecorder(engine).insert_events(events_of("anna", 11, 10))
    life.until_acknowledged(20)
    life.end()
    assert life.progress.filled == filled


def test_a_replication_url_of_another_database_is_refused(
    settings: Settings, engine: Engine, migrated_postgres: Postgres
) -> None:
    """Its slot may have the same name, and its events the same positions (invariant 14)."""
    with fresh_database(migrated_postgres) as other:
        one = msgspec.structs.replace(settings, postgres_replication_url=other)
        with pytest.raises(SlotUnusable, match="RIDELOG_POSTGRES_REPLICATION_URL"), relay_of(one, engine):
            pass


def test_serve_with_a_replication_url(settings: Settings, tmp_path: Path) -> None:
    """And the password of either URL is not shown."""
    assert settings.postgres_url is not None
    one = msgspec.structs.replace(settings, postgres_replication_url=settings.postgres_url)
    node = ServeNode("api,tailer,projections", one, tmp_path / "node", RIDELOG_TOKENS=TOKENS)
    try:
        eventually(node.is_ready, within_s=90, what="everything is ready")
        ping = {"rider_id": "anna", "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": int(time.time() * 1000)}
        assert node.post("/pings", [ping]).json()["accepted"] == 1
        eventually(lambda: node.get("/riders/anna/speed").status_code == 200, within_s=60, what="the speed is served")
    finally:
        node.stop()


def test_the_password_of_the_replication_url_is_hidden(tmp_path: Path) -> None:
    env = {
        "RIDELOG_POSTGRES_REPLICATION_URL": "postgresql://u:hunter2@db/x",
        "RIDELOG_POSTGRES_URL": "postgresql://db/x",
    }
    done = run_here(["config", "show"], env, tmp_path)
    assert done.returncode == 0
    assert "hunter2" not in done.stdout
    assert "RIDELOG_POSTGRES_REPLICATION_URL" in done.stdout.upper() or "postgres_replication_url" in done.stdout


def test_a_replication_url_without_a_database_of_ones_own_is_refused(tmp_path: Path) -> None:
    done = run_here(SERVE, {"RIDELOG_POSTGRES_REPLICATION_URL": "postgresql://db/x"}, tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "RIDELOG_POSTGRES_URL" in line
