"""The commands of docs/backup.md for an external PostgreSQL, where one with its client programs is installed.

The way without them, a copy of the files, is tried with a whole ``serve`` in ``tests/faults/test_restored_log.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from infrastructure.event_store.log_head import read_head
from infrastructure.event_store.log_reader import PostgresLog
from infrastructure.event_store.recorder import EventRecorder
from infrastructure.postgres.engine import writer_engine
from infrastructure.postgres.migrations import revision, upgrade
from projections.core.fences import FenceStatus, check_fences, digest_of
from projections.core.ports import Fence
from tests.integration.event_store.test_event_log import contiguous
from tests.support.postgres.log_events import events_of
from tests.support.time_limits import scaled_s

_FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_basebackup"))
USER = "nobody" if os.geteuid() == 0 else None


class Installed:
    """A PostgreSQL of the machine in ``folder``, on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "main"

    def run(self, program: str, *arguments: str) -> None:
        command = [str(_FOUND[-1].parent / program), *arguments]
        done = subprocess.run(
            command, user=USER, cwd=self.folder, stdin=subprocess.DEVNULL, check=False, timeout=scaled_s(60)
        )
        assert done.returncode == 0, command

    def make(self) -> None:
        self.run("initdb", "-D", str(self.home), "-U", "ridelog", "--auth=trust", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c wal_level=logical -c fsync=off"
        log = str(self.folder / "postgres.log")
        self.run("pg_ctl", "-D", str(self.home), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.home), "-m", "fast", "-w", "stop")

    def url(self, database: str) -> str:
        return f"postgresql://ridelog@/{database}?host={self.folder}"


@pytest.fixture
def installed() -> Iterator[Installed]:
    if not _FOUND:
        pytest.skip("no PostgreSQL with client programs under /usr/lib/postgresql")
    # Not pytest's own, which is root's alone where root runs the tests.
    with tempfile.TemporaryDirectory(prefix="ridelog-pg-") as name:
        if USER is not None:
            shutil.chown(name, USER)
        one = Installed(Path(name))
        one.make()
        one.start()
        try:
            yield one
        finally:
            one.stop()


def record(engine: Engine, first: int, count: int, payload: bytes = b"x") -> Fence:
    """More events of one rider, and the fence of a worker that has folded all of them."""
    EventRecorder(engine).insert_events(events_of("anna", first, count, payload))
    with engine.connect() as connection:
        head = read_head(connection)
    last = PostgresLog(engine).events_at([head.position])[head.position]
    return Fence(str(head.log_id), "one", last.seq, last.position, digest_of(last))


def trust(engine: Engine, fence: Fence, shard: int) -> FenceStatus:
    return check_fences(PostgresLog(engine), "Rider", {shard: fence}).statuses[shard]


@pytest.mark.parametrize("way", ["pg_dump", "pg_basebackup"])
def test_a_backup_restores_the_log_and_its_numbers_and_fences_tell_it(installed: Installed, way: str) -> None:
    installed.run("createdb", "-h", str(installed.folder), "-U", "ridelog", "ridelog")
    upgrade(installed.url("ridelog"))
    engine = writer_engine(installed.url("ridelog"))
    of_backup = record(engine, 1, 40)
    shard = PostgresLog(engine).events_at([1])[1].shard
    backup = str(installed.folder / "backup")
    if way == "pg_dump":
        installed.run("pg_dump", "--format=custom", f"--file={backup}", installed.url("ridelog"))
    else:
        installed.run("pg_basebackup", "-D", backup, "--checkpoint=fast", "-d", installed.url("postgres"))
    of_lost = record(engine, 41, 10)
    engine.dispose()
    database = "ridelog"
    if way == "pg_dump":
        database = "restored"
        installed.run("createdb", "-h", str(installed.folder), "-U", "ridelog", database)
        installed.run("pg_restore", "--exit-on-error", f"--dbname={installed.url(database)}", backup)
    else:
        installed.stop()
        installed.home = Path(backup)
        installed.start()
    engine = writer_engine(installed.url(database))
    assert revision(installed.url(database)).is_current
    assert contiguous(engine) == 40
    assert (trust(engine, of_backup, shard), trust(engine, of_lost, shard)) == (FenceStatus.GOOD, FenceStatus.AHEAD)
    # The numbers go on without a gap, and the log is still itself.
    record(engine, 41, 25, b"others")
    assert contiguous(engine) == 65
    assert (trust(engine, of_backup, shard), trust(engine, of_lost, shard)) == (FenceStatus.GOOD, FenceStatus.REWRITTEN)
    engine.dispose()
