"""Files that are whole from the moment they have their names, and that only their owner can read.

Parts and exports have people's locations in them, so a new file is 0600. An export that replaces a file keeps the mode
that a person gave it. A machine that was given up may still write the part that another one makes now. Both write the
same bytes; with one unfinished file for both, what the first left in the middle of a write would be in the file of the
second.
"""

from __future__ import annotations

import io
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

UNFINISHED = ".part"
PRIVATE_MODE: Final = 0o600


def unfinished_file(path: Path) -> Path:
    """A new empty file in which ``path`` is written until it is whole, with a name that no other writer has.

    It has the permissions of the file at ``path``, and PRIVATE_MODE if there is none. Raises OSError.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_MODE)
    try:
        if path.exists():
            os.fchmod(handle, stat.S_IMODE(path.stat().st_mode))
    finally:
        os.close(handle)
    return unfinished


def give_name(unfinished: Path, path: Path) -> None:
    """Name a finished export. Its bytes and its name outlast a power failure. Raises OSError."""
    sync(unfinished)
    unfinished.replace(path)
    sync(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a part. It does not wait for the disk: there are hundreds, and they are made again. Raises OSError."""
    unfinished = unfinished_file(path)
    unfinished.write_bytes(data)
    unfinished.replace(path)


@contextmanager
def writing_export(path: Path) -> Iterator[BinaryIO]:
    """A file to write the export ``path`` to. Raises OSError.

    After an error there is no new file, and the one of before is as it was. What is no regular file, such as
    ``/dev/stdout``, is written directly, and the target of a link is replaced, not the link.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()
    unfinished = unfinished_file(path)
    try:
        with unfinished.open("wb") as file:
            yield file
        give_name(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_export(path: Path, data: bytes) -> None:
    """Write the export ``path``. Raises OSError."""
    with writing_export(path) as file:
        file.write(data)


class GrowingExport:
    """A text file in UTF-8 that a command writes for as long as it runs. It has its name once it is whole.

    So a command that is killed leaves no half of a file that looks like a whole one, and the file of before is as it
    was. ``finish`` or ``abandon`` ends it, in whatever order and however often.
    """

    def __init__(self, path: Path, *, errors: str = "strict") -> None:
        """``errors``: as of ``open``. Raises OSError."""
        self._export = ExitStack()
        binary = self._export.enter_context(writing_export(path))
        self.text = io.TextIOWrapper(binary, encoding="utf-8", errors=errors, newline="")

    def finish(self) -> None:
        """Give the file its name. Raises OSError; then there is no new file."""
        with self._export:
            # Only an open file: one that was ended before is flushed.
            if not self.text.closed:
                self.text.flush()

    def abandon(self) -> None:
        """Delete what was written. The command fails with its own error, not with that of a full disk here."""
        with suppress(OSError, _Abandoned), self._export:
            raise _Abandoned


class _Abandoned(Exception):
    """Ends the export as any error does."""


def delete_unfinished(folder: Path, prefix: str = "") -> None:
    """Delete what ended writers have left in ``folder``, of names that start with ``prefix``. Raises OSError."""
    for left in folder.glob(f"{prefix}*{UNFINISHED}"):
        left.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
