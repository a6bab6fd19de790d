"""The data directory: one ``serve`` at a time, and where others learn what it runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from infrastructure.embedded.identity import start_mark
from infrastructure.embedded.private_file import (
    check_owner,
    close_directory,
    make_private_directory,
    read_trusted,
    write_private,
)
from infrastructure.user_error import UserError


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
    return info if start_mark(info.pid) == info.mark else None


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
