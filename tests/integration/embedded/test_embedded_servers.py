"""Each embedded server starts from its wheel, keeps its address and data, and restarts after kill -9."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGKILL
from typing import Any

import psutil
import psycopg2
import pytest
import redis
from kafka import KafkaConsumer

from infrastructure.embedded.child_process import LAUNCHER
from infrastructure.embedded.postgres import Postgres
from infrastructure.embedded.postgres_cluster import program
from infrastructure.embedded.server import EmbeddedServer, ServerError
from infrastructure.embedded.tansu import Tansu
from infrastructure.embedded.valkey import Valkey
from tests.support.servers.servers import running
from tests.support.time_limits import scaled_s

# Longer than the 107 bytes that the path of a Unix socket may have.
TOO_LONG = "x" * 110


@pytest.fixture(params=[Postgres, Valkey, Tansu], ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Each of the three servers, started on a data directory of its own."""
    with running(request.param(tmp_path)) as one:
        yield one


def serves(server: EmbeddedServer) -> bool:
    """Whether a real client gets an answer."""
    if isinstance(server, Postgres):
        return bool(query(server, "SELECT 1") == 1)
    if isinstance(server, Valkey):
        with redis.Redis.from_url(server.url) as client:
            return bool(client.ping())
    with closing(KafkaConsumer(bootstrap_servers=server.url)) as consumer:
        return isinstance(consumer.topics(), set)


def query(server: Postgres, statement: str) -> Any:
    with closing(psycopg2.connect(server.url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def test_it_serves_and_stops(server: EmbeddedServer) -> None:
    assert serves(server)
    pid = server.pid
    assert pid is not None
    server.stop()
    assert server.pid is None
    assert not psutil.pid_exists(pid)


def test_it_keeps_its_address_after_a_restart_and_after_kill_9(server: EmbeddedServer) -> None:
    url, first = server.url, server.pid
    server.restart()
    second = server.pid
    server.kill()
    assert not server.is_alive()
    server.start()
    assert serves(server)
    assert server.url == url
    assert len({first, second, server.pid}) == 3


def test_starting_a_running_server_changes_nothing(server: EmbeddedServer) -> None:
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_postgres_keeps_its_data_and_is_set_up_for_logical_decoding(tmp_path: Path) -> None:
    with running(Postgres(tmp_path)) as server:
        assert isinstance(server, Postgres)
        query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        server.kill()
        server.start()
        assert query(server, "SELECT answer FROM kept") == 42
        assert query(server, "SHOW wal_level") == "logical"
        assert query(server, "SHOW fsync") == "on"
        assert query(server, "SHOW listen_addresses") == ""


def test_valkey_keeps_its_data_and_never_evicts(tmp_path: Path) -> None:
    with running(Valkey(tmp_path)) as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", 42)
        server.restart()
        assert client.get("kept") == b"42"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_only_its_owner_reaches_the_socket_of_a_server(tmp_path: Path, kind: type[EmbeddedServer]) -> None:
    with running(kind(tmp_path)) as server:
        assert "127.0.0.1" not in server.url
        # For root's PostgreSQL the group of its user may traverse it, to a private directory.
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) in {0o700, 0o710}
        if kind is Postgres:
            assert stat.S_IMODE((tmp_path / "run" / "postgres").stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_if_no_socket_path_fits_it_listens_on_loopback_with_a_password(
    tmp_path: Path, kind: type[EmbeddedServer]
) -> None:
    with running(kind(tmp_path / TOO_LONG)) as server:
        assert "@127.0.0.1:" in server.url
        assert serves(server)
        secret = server.url.partition("@")[0].rpartition(":")[2]
        with pytest.raises((psycopg2.OperationalError, redis.exceptions.AuthenticationError)):
            connect_with(server.url.replace(secret, "wrong"))
        command = psutil.Process(server.pid).cmdline()
        assert not any(secret in argument for argument in command)


def connect_with(url: str) -> None:
    if url.startswith("postgresql"):
        psycopg2.connect(url).close()
    else:
        with redis.Redis.from_url(url) as client:
            client.ping()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user of PostgreSQL")
def test_as_root_postgres_runs_as_another_user_below_a_directory_that_user_may_not_enter(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    with running(Postgres(closed / "data")) as server:
        process = psutil.Process(server.pid)
        assert process.uids().effective != 0
        assert (closed / "data" / "postgres").stat().st_uid == process.uids().effective
        held = next(line for line in effective_capabilities(process.pid))
        assert held & ~0b100 == 0, "nothing but CAP_DAC_READ_SEARCH"
        assert serves(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user of PostgreSQL")
def test_as_root_postgres_keeps_no_right_of_root_where_its_user_can_reach_its_files() -> None:
    with tempfile.TemporaryDirectory(prefix="ridelog-") as folder:
        open_to_all = Path(folder)
        open_to_all.chmod(0o711)
        server = Postgres(open_to_all / "data")
        nobody = pwd.getpwnam("nobody")
        if not can_reach(nobody, Path(program("postgres"))):
            pytest.skip("the wheel itself is below a directory that is closed to nobody")
        with running(server):
            assert list(effective_capabilities(server.pid or 0)) == [0]
            assert (open_to_all / "data").stat().st_mode & 0o777 == 0o710
            assert serves(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user of PostgreSQL")
def test_another_process_of_the_servers_user_cannot_log_in_as_superuser(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    with running(Postgres(tmp_path)) as server:
        launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(SIGKILL))]
        launch += [str(nobody.pw_uid), str(nobody.pw_gid), sys.executable, "-c"]
        launch += ["import psycopg2, sys; psycopg2.connect(sys.argv[1])", server.url]
        done = subprocess.run(launch, capture_output=True, text=True, check=False, timeout=scaled_s(60))
        assert done.returncode == 1
        assert "Peer authentication failed" in done.stderr
        assert serves(server)


def can_reach(user: pwd.struct_passwd, path: Path) -> bool:
    done = subprocess.run(
        ["/usr/bin/test", "-x", str(path)], user=user.pw_uid, group=user.pw_gid, extra_groups=[], check=False
    )
    return done.returncode == 0


def effective_capabilities(pid: int) -> Iterator[int]:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            yield int(line.split()[1], 16)


def test_a_server_that_cannot_start_reports_why_and_what_to_do(tmp_path: Path) -> None:
    with running(Tansu(tmp_path / "one")) as first:
        assert isinstance(first, Tansu)
        second = Tansu(tmp_path / "two", first.port)
        with pytest.raises(ServerError, match="RIDELOG_KAFKA_BOOTSTRAP") as error:
            second.start(timeout_s=10.0)
        assert str(second.log_path) in str(error.value)
        second.stop()


def test_an_initdb_that_was_killed_half_way_is_repeated(tmp_path: Path) -> None:
    half = tmp_path / "postgres.unfinished"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with running(Postgres(tmp_path)) as server:
        assert serves(server)


def test_postgres_starts_although_another_program_has_its_old_pid(
    tmp_path: Path,
) -> None:
    with running(Postgres(tmp_path)) as server:
        server.kill()
        lock = tmp_path / "postgres" / "postmaster.pid"
        lock.write_text(lock.read_text().replace(lock.read_text().split()[0], str(os.getpid()), 1))
        server.start()
        assert serves(server)
