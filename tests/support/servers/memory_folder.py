"""A folder in memory for the files of a session's PostgreSQL.

Each test has a database of its own, which is three hundred files. Most of what a new database costs on a disk is the
creation of these files by the kernel.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

MEMORY = Path("/dev/shm")
PREFIX = "ridelog-tests-"


class Room(NamedTuple):
    """The least that must be free: of the folder (containers often have 64 MB), and of the machine's memory."""

    folder_bytes: int
    memory_bytes: int


ENOUGH = Room(4 * 1024**3, 8 * 1024**3)
"""The files of three workers take about 1 GiB."""


@contextmanager
def memory_folder(otherwise: Path, memory: Path = MEMORY, room: Room = ENOUGH) -> Iterator[Path]:
    """A new folder in memory, removed at the end; ``otherwise`` where there is none, or less than ``room``."""
    if not has_room(memory, room):
        yield otherwise
        return
    remove_abandoned(memory)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=memory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def has_room(memory: Path, room: Room) -> bool:
    """Whether the folder can be written to, and so much is free."""
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        return False
    return (
        shutil.disk_usage(memory).free >= room.folder_bytes and psutil.virtual_memory().available >= room.memory_bytes
    )


def remove_abandoned(memory: Path) -> None:
    """Remove the folders of sessions that were killed: their files would stay in memory until the machine restarts."""
    for folder in memory.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if not (pid.isdecimal() and psutil.pid_exists(int(pid))):
            shutil.rmtree(folder, ignore_errors=True)
