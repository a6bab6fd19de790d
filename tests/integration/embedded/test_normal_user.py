"""The embedded servers for a normal user, also when the tests run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from infrastructure.embedded.child_process import LAUNCHER
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s

IMPORT_CHECK = [sys.executable, "-c", "import tests.support.servers.start_servers"]


@pytest.fixture
def nobody() -> pwd.struct_passwd:
    """The user that every system has."""
    return pwd.getpwnam("nobody")


@pytest.fixture
def home(nobody: pwd.struct_passwd) -> Iterator[Path]:
    """A directory of that user. Not below pytest's own directories, which are closed to every other user."""
    with tempfile.TemporaryDirectory(prefix="ridelog-") as path:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
        yield Path(path)


def run_as(user: pwd.struct_passwd, home: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command with only the rights of that user. Raises PermissionError if it cannot be read."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled_s(120),
    )


def may_run_this_checkout(user: pwd.struct_passwd, home: Path) -> bool:
    try:
        return run_as(user, home, IMPORT_CHECK).returncode == 0
    except PermissionError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a normal user already")
def test_all_servers_start_for_a_normal_user(nobody: pwd.struct_passwd, home: Path) -> None:
    command = [sys.executable, "-m", "tests.support.servers.start_servers", str(home / "data")]
    if may_run_this_checkout(nobody, home):
        done = run_as(nobody, home, command)
    else:
        # The interpreter is below root's closed home: give the user root's right to read, and nothing more.
        launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(SIGKILL))]
        launch += [str(nobody.pw_uid), str(nobody.pw_gid), *command]
        env = {"HOME": str(home), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            launch, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=scaled_s(120)
        )
    assert (done.stdout, done.stderr) == ("postgres as we\nredis as we\nkafka as we\n", "")
