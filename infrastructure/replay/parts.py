"""The parts of a file that is made shard by shard: beside it until it is whole, so that one broken off goes on."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infrastructure.user_error import UserError

REQUEST = "request.json"
_LOCK = "lock"


@contextmanager
def parts_of(out: Path) -> Iterator[Path]:
    """The folder for the parts of ``out``, of one process at a time; it goes when the context ends with ``out`` whole.

    What the disk refuses within is a UserError.
    """
    folder = out.with_name(f"{out.name}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Two that write one file would take each other's parts away.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
            shutil.rmtree(folder)
        finally:
            os.close(lock)
    except BlockingIOError as error:
        raise UserError(f"another process is writing {out}: wait for it, or name another file") from error
    except OSError as error:
        raise UserError(f"cannot write {out}: {error}; what is done is kept, the same command goes on") from error


def keep_only(folder: Path, whose: bytes) -> None:
    """Parts of another question, or made by other code or of another log, must not be mixed with these: they go."""
    request = folder / REQUEST
    if request.exists() and request.read_bytes() == whose:
        return
    for old in folder.iterdir():
        if old.name != _LOCK:
            old.unlink()
    request.write_bytes(whose)
