"""Programs that are forked from a process that has loaded their modules: they are what executed programs are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infrastructure.embedded.process_identity import process_start_id
from tests.integration.embedded import fork_server_program
from tests.support.servers.serving import ROOT
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are executed there")


class Asking:
    """A process that has started forks, and what it found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", fork_server_program.__name__, str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.found: dict[str, Any] = json.loads(self.process.stdout.readline())

    def said(self, word: str) -> dict[str, Any]:
        """What the fork wrote to its log."""
        said = json.loads(self.found[word]["log"])
        assert isinstance(said, dict)
        return said


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    one = Asking(tmp_path)
    yield one
    one.process.kill()
    one.process.communicate(timeout=scaled_s(20))


def test_a_fork_is_a_child_with_modules_environment_directory_session_and_log_of_its_own(asking: Asking) -> None:
    for word in ("end", "fail", "wait"):
        said = asking.said(word)
        assert said["loaded"] == ["modules"]
        assert said["environment"] == {"NAME": word}
        assert said["cwd"] == str(asking.folder)
        assert said["parent"] == asking.found["pid"]
        assert said["session"] == said["pid"] == asking.found[word]["pid"]
        assert said["umask"] == 0o077
        assert said["input"] == "/dev/null"
        assert said["open"] == []


def test_the_end_of_a_fork_is_seen_with_its_exit_code(asking: Asking) -> None:
    ends = {word: (asking.found[word]["ended"], asking.found[word]["code"]) for word in ("end", "fail", "wait")}
    assert ends == {"end": (True, 0), "fail": (True, 7), "wait": (False, None)}
    stopped, _ = asking.process.communicate("stop\n", timeout=scaled_s(30))
    assert json.loads(stopped) == {"code": -15}


def test_a_fork_shows_its_own_command_line_and_name(asking: Asking) -> None:
    shown = " ".join(asking.found["wait"]["command"]).strip()
    assert shown == " ".join((*fork_server_program.PREFIX, "wait"))
    assert asking.found["wait"]["name"] == "wait"


def test_other_commands_and_those_without_a_server_are_to_be_executed(asking: Asking) -> None:
    assert asking.found["other command"]
    assert asking.found["without the server"]


def test_a_program_that_was_killed_is_restarted_as_a_fork(asking: Asking) -> None:
    first, second = asking.found["restarted"]["log"]
    assert first["pid"] != second["pid"]
    for said in (first, second):
        assert (said["loaded"], said["parent"], said["environment"]) == (
            ["modules"],
            asking.found["pid"],
            {"NAME": "again"},
        )


def test_a_fork_ends_with_its_parent(asking: Asking) -> None:
    pid = asking.found["wait"]["pid"]
    assert process_start_id(pid) is not None
    asking.process.kill()
    asking.process.wait(scaled_s(20))
    eventually(lambda: process_start_id(pid) is None, within_s=20, what="the fork has ended")
