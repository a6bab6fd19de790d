"""The data directory: locked by one ``serve`` at a time, private to its user, and where ``run.json`` says what runs.

Only their owner reads its files and directories. Files are replaced as a whole.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from infrastructure.embedded.process_identity import process_start_id
from infrastructure.errors import UserError

SECRET_BYTES = 32
"""As many as the digest of the signatures has (SHA-256)."""


def write_private(path: Path, content: bytes) -> None:
    """Replace the file atomically, mode 0600: a reader, or a crash, sees the old or the new content, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)


def private_secret(directory: Path, name: str) -> bytes:
    """The secret in a file of the data directory; 32 random bytes that are made and kept, mode 0600, if it is missing.

    Processes that start at the same time agree on one.

    Raises:
        OSError: the file cannot be read or made, or other users can write it.
    """
    path = directory / name
    if not path.exists():
        make_private_directory(directory)
        temporary = path.with_name(f".{name}.{os.getpid()}")
        write_private(temporary, secrets.token_bytes(SECRET_BYTES))
        # Only one process can give its file the name; the others read that one.
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
        temporary.unlink()
    found = read_trusted(directory, name)
    if len(found) < SECRET_BYTES:
        raise OSError(f"{path} has {len(found)} bytes, not {SECRET_BYTES}: delete it, and a new one is made")
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} can be read by other users: delete it, and a new one is made")
    return found


def check_owner(path: Path) -> None:
    """Raises PermissionError if the directory belongs to another user."""
    if (owner := path.stat().st_uid) != os.geteuid():
        raise PermissionError(f"it belongs to another user (uid {owner})")


def restrict_directory(path: Path) -> None:
    """Remove all rights of other users from the directory and its direct entries, where this user owns them."""
    for entry in (path, *path.iterdir()):
        found = entry.lstat()
        # Skip links, whose targets are outside the directory, and the files that the database's user owns.
        if found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o077:
            entry.chmod(found.st_mode & 0o700)


def read_trusted(directory: Path, name: str) -> bytes:
    """The content of a file that no other user can have written.

    Raises:
        FileNotFoundError: the file does not exist.
        PermissionError: the directory or the file belongs to another user, or other users may write it.
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
        # Check the open file, so that it cannot be exchanged between the check and the read.
        found = os.fstat(handle)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user (uid {found.st_uid})")
        if found.st_mode & 0o022:
            raise PermissionError(f"{path} can be written by other users")
        yield handle
    finally:
        os.close(handle)


def make_private_directory(path: Path) -> None:
    """Create the directory and its missing parents, all with mode 0700. Raises OSError if that fails."""
    # parents=True would give the parents the default mode: .ridelog of .ridelog/demo would be open to all users.
    for missing in reversed([one for one in path.parents if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a running ``serve`` publishes in ``run.json`` for other commands.

    ``start_id``: distinguishes the process from a later one with the same pid. ``started_at``: epoch milliseconds.
    ``open_broker``: HTTP needs tokens, and the embedded broker admits each local user.
    """

    pid: int
    start_id: str = msgspec.field(name="mark")
    started_at: int
    http_url: str
    postgres_url: str
    redis_url: str
    kafka_bootstrap: str
    registry_url: str
    open_broker: bool = False


def read_run_info(path: Path) -> RunInfo | None:
    """The ``serve`` that runs on the data directory ``path``; None if none does, also if a killed one left its file.

    Raises:
        UserError: another user can have written the file, and would receive our token, pings and commands.
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
    return info if process_start_id(info.pid) == info.start_id else None


class DataDir:
    """A data directory that this process has locked, closed to other users.

    Raises UserError if another process has locked it, it is read-only or it belongs to another user.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = _lock(self.path)

    def write_run_info(self, info: RunInfo) -> None:
        """Publish what runs here. The file is 0600 because the URLs may carry passwords."""
        write_private(self.path / "run.json", msgspec.json.encode(info))

    def close(self) -> None:
        """Release the directory."""
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
        # The kernel releases the lock whenever this process ends. A pid file would outlive a kill -9.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise UserError(
            f"the data directory {path} is in use by pid {holder}; "
            f"stop it (kill {holder}), or choose another with --data-dir"
        ) from None
    # Only after the lock: a second `serve` must not remove rights that the running database needs.
    restrict_directory(path)
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode("ascii"))
    return handle
