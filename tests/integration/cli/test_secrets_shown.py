"""No command shows a password or a token, however malformed the address that contains it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.serving import ROOT
from tests.support.servers.tcp_postgres import DATABASE, PASSWORD, ROLE, TcpPostgres
from tests.support.time_limits import scaled_s
from tests.support.worlds.command_line import run_here

SECRET = "hunter2xyz"
"""Contained in each address below. PARTS are parts of it, because a parser may split a malformed address anywhere."""
PARTS = ("hunter2", "xyz", "2xy")
COMMANDS = (
    ("config", "show"),
    ("config", "show", "--json"),
    ("migrate",),
    ("status",),
    ("rebuild-projection", "speed"),
    ("replay", "speed", "--position", "0"),
    ("serve",),
)
QUIET = "127.0.0.1:1"
"""An address without a listener."""

POSTGRES = [
    f"postgresql://u:{SECRET}@{QUIET}/db",
    f"POSTGRESQL://u:{SECRET}@{QUIET}/db",
    f"postgresql://u:hunter2#xyz@{QUIET}/db",
    f"postgresql://u:hunter2@xyz@{QUIET}/db",
    f"postgresql://u:hunter2/xyz@{QUIET}/db",
    f"postgresql://u:hunter2?xyz@{QUIET}/db",
    f"postgresql://u:hunter2:xyz@{QUIET}/db",
    f"postgresql://u:hunter2[xyz@{QUIET}/db",
    f"postgresql://u:hunter2%zzxyz@{QUIET}/db",
    f"postgresql://u:hunter2%40xyz@{QUIET}/db",
    f"postgresql://u:hunter2 xyz@{QUIET}/db",
    f"postgresql://u:hunter2\\xyz@{QUIET}/db",
    f"postgresql://:{SECRET}@{QUIET}/db",
    f"postgresql://u/{SECRET}@{QUIET}/db",
    f"postgresql://u:{SECRET}",
    f"postgresql://u:{SECRET}@",
    f"postgresql://u:{SECRET}@{QUIET}x/db",
    f"postgresql:/u:{SECRET}@{QUIET}/db",
    f"postgresql:u:{SECRET}@{QUIET}/db",
    f"postgresql//u:{SECRET}@{QUIET}/db",
    f"u:{SECRET}@{QUIET}/db",
    f" postgresql://u:{SECRET}@{QUIET}/db",
    f"host=127.0.0.1 port=1 password={SECRET} dbname=db",
    f"mysql://u:{SECRET}@{QUIET}/db",
    f"https://u:{SECRET}@{QUIET}/db",
    f"postgresql://{QUIET}/db?password={SECRET}",
    f"postgresql://u@{QUIET}/db?sslpassword={SECRET}",
    f"postgresql://u@{QUIET}/db?options=--{SECRET}",
    f"postgresql://u@{QUIET}/db?pass={SECRET}",
    f"postgresql://u@{QUIET}/db?passfile={SECRET}",
    f"postgresql://u:{SECRET}@127.0.0.1:1,127.0.0.1:2/db",
    "postgresql://u:hunter2@xyz@127.0.0.1:1,127.0.0.1:2/db",
    f"postgresql://u:{SECRET}@/db?host=127.0.0.1:1&host=127.0.0.1:2",
    f"postgresql://u:{SECRET}@/db?host=%2Fnowhere",
    f"postgresql://u:{SECRET}@[::1]:1/db",
]
OTHERS = [
    ("REDIS_URL", f"redis://:{SECRET}@{QUIET}/0"),
    ("REDIS_URL", f"redis://:hunter2#xyz@{QUIET}/0"),
    ("REDIS_URL", f"redis://:hunter2/xyz@{QUIET}/0"),
    ("REDIS_URL", f"redis://:hunter2?xyz@{QUIET}/0"),
    ("REDIS_URL", f"redis://u:hunter2@xyz@{QUIET}/0"),
    ("REDIS_URL", f"redis://u:{SECRET}"),
    ("REDIS_URL", f"REDIS://u:{SECRET}@{QUIET}"),
    ("REDIS_URL", f"redis://{QUIET}?password={SECRET}"),
    ("REDIS_URL", f"redis://{QUIET}?db={SECRET}"),
    ("REDIS_URL", f"redis://{QUIET}?{SECRET}=1"),
    ("REDIS_URL", f"unix:///nowhere?password={SECRET}"),
    ("REDIS_URL", f"redis+cluster://:{SECRET}@{QUIET},{QUIET}"),
    ("REDIS_URL", f"redis+cluster://u:hunter2@xyz@{QUIET}"),
    ("REDIS_URL", f"redis+cluster://u:hunter2/xyz@{QUIET}"),
    ("REDIS_URL", f"redis+cluster://u:{SECRET}"),
    ("REDIS_URL", f"redis+cluster://{QUIET}?password={SECRET}"),
    ("KAFKA_BOOTSTRAP", f"sasl_ssl://u:{SECRET}@{QUIET}"),
    ("KAFKA_BOOTSTRAP", f"sasl_ssl://u:hunter2@xyz@{QUIET}"),
    ("KAFKA_BOOTSTRAP", f"SASL_SSL://u:hunter2#xyz@{QUIET}"),
    ("KAFKA_BOOTSTRAP", f"u:{SECRET}@{QUIET}"),
    ("SCHEMA_REGISTRY_URL", f"http://u:{SECRET}@{QUIET}"),
    ("SCHEMA_REGISTRY_URL", f"http://u:hunter2#xyz@{QUIET}"),
    ("SCHEMA_REGISTRY_URL", f"http://u:hunter2@xyz@{QUIET}"),
    ("SCHEMA_REGISTRY_URL", f"u:{SECRET}@{QUIET}"),
    ("SCHEMA_REGISTRY_URL", f"http://{QUIET}/?key={SECRET}"),
    ("TOKENS", f"ingest:{SECRET}"),
    ("TOKENS", f"root={SECRET}"),
    ("TOKENS", f"ingest={SECRET},read={SECRET}"),
    ("TOKENS", f"ingest={SECRET}-{SECRET}"),
]


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, str]:
    """Addresses of the other servers, without a listener, so that no command gets as far as starting one."""
    return {
        "RIDELOG_POSTGRES_URL": f"postgresql://u:p@{QUIET}/db",
        "RIDELOG_REDIS_URL": f"redis://{QUIET}",
        "RIDELOG_KAFKA_BOOTSTRAP": QUIET,
    }


@pytest.mark.parametrize("url", POSTGRES)
def test_no_command_shows_the_password_of_postgres(url: str, elsewhere: dict[str, str], tmp_path: Path) -> None:
    assert_nothing_shown("POSTGRES_URL", url, elsewhere, tmp_path)


@pytest.mark.parametrize(("setting", "value"), OTHERS)
def test_no_command_shows_another_secret(setting: str, value: str, elsewhere: dict[str, str], tmp_path: Path) -> None:
    assert_nothing_shown(setting, value, elsewhere, tmp_path)


def assert_nothing_shown(setting: str, value: str, elsewhere: dict[str, str], folder: Path) -> None:
    env = elsewhere | {f"RIDELOG_{setting}": value, "RIDELOG_DATA_DIR": str(folder / "data")}
    well_formed = False
    for command in COMMANDS:
        if command[0] == "rebuild-projection" and well_formed:
            continue  # it waits two minutes for a server that does not answer
        done = run_here(command, env, folder)
        well_formed = well_formed or (command[0] == "config" and done.returncode == 0)
        output = (done.stdout + done.stderr).replace("127.0.0.1", "")
        assert not [part for part in PARTS if part in output], (command, output)
        assert "Traceback" not in output, command
        if command[0] != "config":
            assert done.returncode == 1, command
            assert done.stderr.count("\n") == 1, (command, done.stderr)
    for log in folder.rglob("*.log"):
        assert not [part for part in PARTS if part in log.read_text()], log


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TcpPostgres]:
    one = TcpPostgres(tmp_path_factory.mktemp("external"))
    try:
        one.start()
        one.create_owner()
        yield one
    finally:
        one.stop()


def migrate(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run in a separate process, because the interpreter writes a traceback only at its own end."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIDELOG_")}
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "migrate"],
        cwd=folder,
        env=env | {"RIDELOG_POSTGRES_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled_s(60),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((PASSWORD, SECRET), "password authentication failed"),
        ((f"/{DATABASE}", "/nothing"), 'database "nothing" does not exist'),
        ((f"/{DATABASE}", f"/{DATABASE}?sslmode=require"), "server does not support SSL"),
        ((f"/{DATABASE}", f"/{DATABASE}?options=--{SECRET}"), "FATAL"),
    ],
)
def test_what_the_server_refuses_migrate_for_is_one_line(
    server: TcpPostgres, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    done = migrate(server.owner_url.replace(*change), tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr
    assert PASSWORD not in done.stderr


def test_an_unavailable_server_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = migrate(f"postgresql://{ROLE}:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/db", tmp_path)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_database_of_a_later_version_is_one_line(server: TcpPostgres, tmp_path: Path) -> None:
    server.sql(
        "CREATE TABLE alembic_version (version_num varchar(32)); GRANT ALL ON alembic_version TO PUBLIC", DATABASE
    )
    server.sql("INSERT INTO alembic_version VALUES ('9999')", DATABASE)
    try:
        done = migrate(server.owner_url, tmp_path)
    finally:
        server.sql("DROP TABLE alembic_version", DATABASE)
    assert done.returncode == 1
    assert "9999" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_the_address_and_the_token_of_a_client_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("rider_id,latitude,longitude,event_timestamp_ms\nanna,1,2,3\n")
    for url, token in (
        (f"http://u:{SECRET}@{QUIET}", "t"),
        (f"http://u:hunter2#xyz@{QUIET}", "t"),
        (f"u:{SECRET}@{QUIET}", "t"),
        (f"http://{QUIET}", f"{SECRET}\n"),
        (f"http://{QUIET}", f"{SECRET}é"),
    ):
        done = run_here(("import-pings", "--url", url, "--token", token, "a.csv"), {}, tmp_path)
        assert done.returncode == 1
        assert not [part for part in PARTS if part in done.stdout + done.stderr], done.stderr
