"""Files and directories that only their owner reads; files are replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Write the file 0600 so that a reader, or a crash, sees the old or the new content and never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(path)


def make_private_directory(path: Path) -> None:
    """Make the directory and those above it that are missing, all 0700. Raises OSError if it cannot be made."""
    # Not by parents=True, which gives those above the usual mode: .ridelog of .ridelog/demo would be open to all.
    for missing in reversed([one for one in path.parents if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
