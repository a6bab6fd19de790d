"""Files and directories that only their owner reads; files are replaced as a whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Write the file 0600 so that a reader, or a crash, sees the old or the new content and never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(path)


def check_owner(path: Path) -> None:
    """Raises PermissionError if the directory belongs to another user."""
    if (owner := path.stat().st_uid) != os.geteuid():
        raise PermissionError(f"it belongs to another user (uid {owner})")


def close_directory(path: Path) -> None:
    """Take all rights of other users from the directory and from what is directly in it, as far as it is ours."""
    for entry in (path, *path.iterdir()):
        found = entry.lstat()
        # Not through a link: its target is not a part of the directory. Not what the database's own user owns.
        if found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o077:
            entry.chmod(found.st_mode & 0o700)


def read_trusted(directory: Path, name: str) -> bytes:
    """The content of a file that no other user can have written.

    Raises:
        FileNotFoundError: there is none.
        PermissionError: the directory or the file belongs to another user, or others may write it.
    """
    with (
        _opened(directory, os.O_DIRECTORY, None) as within,
        _opened(Path(name), os.O_NOFOLLOW, within) as handle,
        os.fdopen(os.dup(handle), "rb") as file,
    ):
        return file.read()


@contextmanager
def _opened(path: Path, flags: int, within: int | None) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | flags, dir_fd=within)
    try:
        # Of the open file, so that it cannot be exchanged between the check and the reading.
        found = os.fstat(handle)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user (uid {found.st_uid})")
        if found.st_mode & 0o022:
            raise PermissionError(f"{path} can be written by other users")
        yield handle
    finally:
        os.close(handle)


def make_private_directory(path: Path) -> None:
    """Make the directory and those above it that are missing, all 0700. Raises OSError if it cannot be made."""
    # Not by parents=True, which gives those above the usual mode: .ridelog of .ridelog/demo would be open to all.
    for missing in reversed([one for one in path.parents if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
