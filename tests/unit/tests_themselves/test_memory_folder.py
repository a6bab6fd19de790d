"""Where the session's PostgreSQL has its files: in memory where there is room, and none of a killed session stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers.memory_folder import PREFIX, Room, memory_folder
from tests.support.time_limits import scaled_s

NONE = Room(0, 0)
"""The folders of these tests are on a disk of any size."""


def test_a_folder_in_memory_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    with memory_folder(tmp_path / "otherwise", tmp_path, NONE) as folder:
        assert folder.parent == tmp_path
        (folder / "file").write_text("of the test")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more_than_there_is", [Room(1 << 60, 0), Room(0, 1 << 60)], ids=["folder", "memory"])
def test_without_room_the_files_are_on_the_disk(tmp_path: Path, more_than_there_is: Room) -> None:
    with memory_folder(tmp_path / "otherwise", tmp_path, more_than_there_is) as folder:
        assert folder == tmp_path / "otherwise"
    assert list(tmp_path.iterdir()) == []


def test_without_such_a_folder_the_files_are_on_the_disk(tmp_path: Path) -> None:
    with memory_folder(tmp_path / "otherwise", tmp_path / "missing", NONE) as folder:
        assert folder == tmp_path / "otherwise"


def test_the_folder_of_a_killed_session_is_removed_and_no_other(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(scaled_s(30))
    abandoned = tmp_path / f"{PREFIX}{ended.pid}-a"
    running, foreign = tmp_path / f"{PREFIX}{os.getpid()}-b", tmp_path / "of another program"
    for folder in (abandoned, running, foreign):
        (folder / "postgres").mkdir(parents=True)
    with memory_folder(tmp_path / "otherwise", tmp_path, NONE):
        assert not abandoned.exists()
    assert {folder.name for folder in tmp_path.iterdir()} == {running.name, foreign.name}
