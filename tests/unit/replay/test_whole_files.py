"""Exports are whole, private to their owner, and never a half of what a person had before."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import infrastructure
from infrastructure.replay import parquet
from infrastructure.replay.log_export import MANIFEST
from infrastructure.replay.whole_files import (
    UNFINISHED,
    GrowingExport,
    delete_unfinished,
    write_export,
    write_whole,
    writing_export,
)
from infrastructure.simulator.truth_file import TruthFile

OPEN_UMASK: Final = 0o000
"""Without a mode of its own, each new file would be 0666."""


@pytest.fixture(autouse=True)
def open_umask() -> object:
    before = os.umask(OPEN_UMASK)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_rows(path: Path) -> None:
    parquet.write(path, {"rider_id": "text"}, [{"rider_id": "anna"}])


def write_grown(path: Path) -> None:
    growing = GrowingExport(path)
    growing.text.write("a")
    growing.finish()


def write_truth(path: Path) -> None:
    with TruthFile(path) as truth:
        truth.add([])


WRITERS: Final[dict[str, Callable[[Path], None]]] = {
    "an export": lambda path: write_export(path, b"a"),
    "a part": lambda path: write_whole(path, b"a"),
    "rows": write_rows,
    "a file that grows": write_grown,
    "truth": write_truth,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_regression_a_new_file_is_private_and_an_existing_one_keeps_its_mode(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """Statements, training sets and exports of the log were 0644: each user of the machine could read who was where."""
    path = tmp_path / "one.csv"
    write(path)
    assert mode_of(path) == 0o600
    path.chmod(0o640)
    write(path)
    assert mode_of(path) == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["one.csv"]


def test_an_export_that_fails_leaves_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "statement.html"
    write_export(path, b"before")

    def abort() -> None:
        with writing_export(path) as file:
            file.write(b"half")
            assert path.read_bytes() == b"before"
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        abort()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_regression_a_file_that_grows_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    """Rejected rows and truths were written under their names, so a killed command left a half that looked whole."""
    path = tmp_path / "rejects.csv"
    path.write_bytes(b"before")
    growing = GrowingExport(path)
    growing.text.write("half" * 100_000)
    assert path.read_bytes() == b"before"
    growing.abandon()
    growing.abandon()
    growing.finish()
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"before", [path])

    growing = GrowingExport(path)
    growing.text.write("whole")
    growing.finish()
    growing.abandon()
    growing.finish()
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"whole", [path])


@pytest.mark.parametrize("name", ["truth.csv", "truth.parquet"])
def test_regression_a_run_that_fails_leaves_no_half_of_a_truth(tmp_path: Path, name: str) -> None:
    def fail() -> None:
        with TruthFile(tmp_path / name) as truth:
            truth.add([])
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_target_of_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "set.parquet", tmp_path / "set.parquet"
    target.write_bytes(b"before")
    link.symlink_to(target)
    write_export(link, b"after")
    assert (link.is_symlink(), target.read_bytes()) == (True, b"after")


def test_a_file_that_is_none_is_written_directly(tmp_path: Path) -> None:
    """As ``--html /dev/stdout``."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_export(pipe, b"statement")
        assert os.read(reader, 100) == b"statement"
    finally:
        os.close(reader)
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]


def test_only_what_writers_of_that_name_left_is_deleted(tmp_path: Path) -> None:
    for name in (f"events-1.parquet.aa{UNFINISHED}", f"download{UNFINISHED}", "events-1.parquet", MANIFEST):
        (tmp_path / name).touch()
    delete_unfinished(tmp_path, "events-")
    assert sorted(one.name for one in tmp_path.iterdir()) == [f"download{UNFINISHED}", "events-1.parquet", MANIFEST]


ELSEWHERE: Final = {
    "imports/external_sort.py": "in a temporary directory, which is 0700",
    "replay/log_export.py": "its lock, which is empty",
    "training_sets/train_eta.py": "a model has no person in it, and is read by other users who promote it",
    "embedded/child_process.py": "logs, in a folder that is 0700",
    "embedded/data_dir.py": "0600 by the call itself",
    "embedded/postgres_cluster.py": "0600 by the call itself",
    "embedded/valkey.py": "0600 by the call itself",
    "flink/worker_watchdog.py": "the stacks of a worker that hangs, without values",
}
"""Modules that open a file for writing in another way, and why they may."""
WRITES: Final = re.compile(r"\.write_text\(|\.write_bytes\(|open\((?:[^()]|\([^()]*\))*[\"'][wax]b?\+?[\"']")
PRIVATE: Final = re.compile(r"unfinished_file|writing_export|GrowingExport")


def test_no_module_writes_a_file_in_a_way_of_its_own() -> None:
    root = Path(infrastructure.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if WRITES.search(text := path.read_text(encoding="utf-8")) and not PRIVATE.search(text)
    }
    assert found <= set(ELSEWHERE), sorted(found - set(ELSEWHERE))
