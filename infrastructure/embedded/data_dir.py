"""The data directory: one ``serve`` at a time, and where others learn what it runs."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from infrastructure.embedded.process_identity import process_start_id
from infrastructure.errors import UserError


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


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a running ``serve`` tells other commands in ``run.json``. ``started_at``: epoch milliseconds.

    ``open_broker``: HTTP wants tokens, and the embedded broker admits each local user.
    """

    pid: int
    mark: str
    started_at: int
    http_url: str
    postgres_url: str
    redis_url: str
    kafka_bootstrap: str
    registry_url: str
    open_broker: bool = False


def read_run_info(path: Path) -> RunInfo | None:
    """What runs on the data directory ``path``; None if nothing does, whatever a killed ``serve`` left.

    Raises:
        UserError: another user can have written it, and would get our token, our pings and our commands.
    """
    try:
        info = msgspec.json.decode(read_trusted(path, "run.json"), type=RunInfo)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise UserError(
            f"what runs in the data directory {path} is not trusted: {error}; run the command as its user, "
            "or name the server (--url, RIDELOG_POSTGRES_URL, …) or another --data-dir"
        ) from error
    return info if process_start_id(info.pid) == info.mark else None


class DataDir:
    """An exclusively held data directory, closed to other users.

    Raises UserError if another process holds it, it is read-only or it belongs to another user.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = _lock(self.path)

    def write_run_info(self, info: RunInfo) -> None:
        """Publish what runs here; 0600, for the URLs may carry passwords."""
        write_private(self.path / "run.json", msgspec.json.encode(info))

    def close(self) -> None:
        """Give the directory free."""
        if self._lock >= 0:
            (self.path / "run.json").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(path: Path) -> int:
    try:
        make_private_directory(path)
        check_owner(path)
        handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(f"cannot use the data directory {path}: {error}; choose another with --data-dir") from error
    try:
        # The kernel gives the lock free when we die, however we die; a pid file would outlive a kill -9.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise UserError(
            f"the data directory {path} is in use by pid {holder}; "
            f"stop it (kill {holder}), or choose another with --data-dir"
        ) from None
    # Only now: a second `serve` must not close the passage that a running database needs.
    close_directory(path)
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode("ascii"))
    return handle
