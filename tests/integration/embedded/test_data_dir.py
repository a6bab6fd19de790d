"""The data directory: one process locks it and leaves it clean, and no unrelated process is ever ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import msgspec
import pytest

from infrastructure.client.client import server_url
from infrastructure.embedded.data_dir import DataDir, RunInfo, private_secret, read_run_info, write_private
from infrastructure.embedded.pid_file import PidFile, RecordedProcess
from infrastructure.embedded.process_identity import process_start_id
from infrastructure.errors import UserError
from infrastructure.settings.settings import Settings
from tests.support.time_limits import scaled_s


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until it is ended."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def leave(data_dir: Path, *entries: RecordedProcess) -> None:
    """Write the file that a killed supervisor leaves."""
    (data_dir / "pids.json").write_bytes(msgspec.json.encode(entries))


def test_a_directory_in_use_is_rejected_with_the_pid_and_what_to_do(tmp_path: Path) -> None:
    with DataDir(tmp_path), pytest.raises(UserError, match=rf"in use by pid {os.getpid()}.*--data-dir"):
        DataDir(tmp_path)
    DataDir(tmp_path).close()


def test_a_directory_that_cannot_be_created_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another with --data-dir"):
        DataDir(tmp_path / "file" / "below")


def test_created_parent_directories_are_private_too(tmp_path: Path) -> None:
    DataDir(tmp_path / ".ridelog" / "demo").close()
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in (".ridelog", ".ridelog/demo")] == [0o700, 0o700]


def test_a_stale_process_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    leave(tmp_path, RecordedProcess("api", sleeper.pid, process_start_id(sleeper.pid) or ""))
    assert PidFile(tmp_path).end_stale() == ["api"]
    assert sleeper.wait(scaled_s(5)) == -SIGTERM
    assert not (tmp_path / "pids.json").exists()


def test_a_stale_process_that_ignores_the_gentle_signal_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    stubborn = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        leave(tmp_path, RecordedProcess("api", stubborn.pid, process_start_id(stubborn.pid) or ""))
        assert PidFile(tmp_path).end_stale(timeout_s=0.2) == ["api"]
        assert stubborn.wait(scaled_s(5)) == -9
    finally:
        stubborn.kill()
        stubborn.communicate()


def test_a_process_that_merely_reuses_the_pid_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    leave(tmp_path, RecordedProcess("api", sleeper.pid, "boot:1"))
    assert PidFile(tmp_path).end_stale() == []
    assert sleeper.poll() is None


@pytest.mark.parametrize("left", [b"", b"{", b'[{"name": 1}]'])
def test_a_damaged_list_is_ignored(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "pids.json").write_bytes(left)
    assert PidFile(tmp_path).end_stale() == []


def test_an_ended_process_has_no_start_id_even_before_it_is_reaped(sleeper: subprocess.Popen[bytes]) -> None:
    assert process_start_id(sleeper.pid) is not None
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert process_start_id(sleeper.pid) is None


def info(pid: int, start_id: str) -> RunInfo:
    return RunInfo(
        pid=pid,
        start_id=start_id,
        started_at=1,
        http_url="x",
        postgres_url="x",
        redis_url="x",
        kafka_bootstrap="x",
        registry_url="x",
    )


def test_run_info_is_published_for_its_owner_only_and_removed_at_the_end(tmp_path: Path) -> None:
    running = info(os.getpid(), process_start_id(os.getpid()) or "")
    with DataDir(tmp_path) as data_dir:
        data_dir.write_run_info(running)
        assert read_run_info(tmp_path) == running
        assert (tmp_path / "run.json").stat().st_mode & 0o777 == 0o600
    assert read_run_info(tmp_path) is None


def test_the_run_info_of_a_killed_serve_is_ignored(tmp_path: Path) -> None:
    with DataDir(tmp_path) as data_dir:
        data_dir.write_run_info(info(os.getpid(), "boot:1"))
        assert read_run_info(tmp_path) is None


def test_an_open_data_directory_and_its_entries_become_private(tmp_path: Path) -> None:
    folder, logs = tmp_path / "data", tmp_path / "data" / "logs"
    logs.mkdir(parents=True)
    (folder / "postgres.password").write_text("secret")
    (folder / "link").symlink_to(tmp_path)
    for path, mode in ((tmp_path, 0o755), (folder, 0o777), (logs, 0o755), (folder / "postgres.password", 0o644)):
        path.chmod(mode)
    DataDir(folder).close()
    closed = [folder, logs, folder / "postgres.password", folder / "lock"]
    assert [path.stat().st_mode & 0o077 for path in closed] == [0, 0, 0, 0]
    assert tmp_path.stat().st_mode & 0o777 == 0o755, "not through a link"


def test_a_directory_in_use_is_left_as_it_is_by_a_second_serve(tmp_path: Path) -> None:
    with DataDir(tmp_path):
        tmp_path.chmod(0o710)
        with pytest.raises(UserError, match="in use"):
            DataDir(tmp_path)
        assert tmp_path.stat().st_mode & 0o777 == 0o710


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


@as_root
def test_a_data_directory_of_another_user_is_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(UserError, match=r"belongs to another user \(uid 65534\).*--data-dir"):
        DataDir(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("what", ["directory", "file", "writable directory", "writable file", "link"])
def test_run_info_that_another_user_can_have_written_is_not_trusted(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    file = folder / "run.json"
    file.write_bytes(msgspec.json.encode(info(os.getpid(), process_start_id(os.getpid()) or "")))
    file.chmod(0o644)
    assert server_url(Settings(data_dir=folder)) == "x", "as old versions wrote it"
    if what in {"directory", "file"} and os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    match what:
        case "directory":
            os.chown(folder, 65534, 65534)
        case "file":
            os.chown(file, 65534, 65534)
        case "writable directory":
            folder.chmod(0o775)
        case "writable file":
            file.chmod(0o666)
        case _:
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"not trusted.*--url"):
        server_url(Settings(data_dir=folder))


def test_a_secret_is_made_once_and_kept_for_its_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    first = private_secret(directory, "link-secret")
    assert len(first) == 32
    assert private_secret(directory, "link-secret") == first
    assert private_secret(directory, "other") != first
    assert (directory / "link-secret").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in directory.iterdir()) == ["link-secret", "other"]


def test_processes_that_start_together_agree_on_one_secret(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from infrastructure.embedded.data_dir import private_secret; sys.stdin.readline();"
        "print(private_secret(pathlib.Path(sys.argv[1]), 'link-secret').hex())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({process.communicate(timeout=scaled_s(30))[0] for process in started}) == 1


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_secret_that_others_can_have_read_is_not_used(tmp_path: Path, mode: int) -> None:
    private_secret(tmp_path, "link-secret")
    (tmp_path / "link-secret").chmod(mode)
    with pytest.raises(PermissionError):
        private_secret(tmp_path, "link-secret")


def test_a_damaged_secret_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    write_private(tmp_path / "link-secret", b"short")
    with pytest.raises(OSError, match="delete it, and a new one is made"):
        private_secret(tmp_path, "link-secret")
