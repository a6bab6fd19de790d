"""Which parts of a demo can be broken, and when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import msgspec
import pytest

from infrastructure.cli.demo_breaks import DemoBreaks
from infrastructure.embedded.pid_file import RecordedProcess
from infrastructure.embedded.process_identity import process_start_id
from infrastructure.errors import UserError
from tests.support.waiting import eventually


def record(data_dir: Path, name: str, pid: int, start_id: str | None = None) -> None:
    entry = RecordedProcess(name, pid, start_id or process_start_id(pid) or "")
    (data_dir / "pids.json").write_bytes(msgspec.json.encode([entry]))


def test_only_what_the_demo_itself_has_started_can_be_broken(tmp_path: Path) -> None:
    breaks = DemoBreaks(tmp_path, lambda _since_ms: True)
    with pytest.raises(UserError, match="does not run now"):
        breaks.begin("redis", "kill")
    record(tmp_path, "api", os.getpid())
    for target, how in (("api", "cut"), ("api", "delete"), ("api", "")):
        with pytest.raises(UserError, match="kill any, cut redis, kafka"):
            breaks.begin(target, how)
    assert breaks.breaks() == []


def test_a_killed_part_is_back_once_it_runs_again_and_all_is_well(tmp_path: Path) -> None:
    well = False
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record(tmp_path, "tailer", child.pid)
    asked: list[int] = []

    def is_well(since_ms: int) -> bool:
        asked.append(since_ms)
        return well

    breaks = DemoBreaks(tmp_path, is_well)
    broken = breaks.begin("tailer", "kill")
    with pytest.raises(UserError, match="wait until it is back"):
        breaks.begin("tailer", "kill")
    assert child.wait(30) == -SIGKILL
    record(tmp_path, "tailer", os.getpid())
    assert broken.back_after_s is None
    well = True
    eventually(lambda: broken.back_after_s is not None, what="the break is over")
    assert asked[0] >= broken.at_ms
    child.communicate()


def test_a_pid_that_belongs_to_another_process_by_now_is_not_killed(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record(tmp_path, "tailer", child.pid, "another start")
    broken = DemoBreaks(tmp_path, lambda _since_ms: True).begin("tailer", "kill")
    record(tmp_path, "tailer", child.pid)
    eventually(lambda: broken.back_after_s is not None, what="the break is over")
    assert child.poll() is None
    child.communicate(b"\n")
