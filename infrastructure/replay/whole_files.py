"""Files of parts that are whole from the moment they have their names, even if two processes make the same part.

A machine that was given up may still write the part that another one makes now. Both write the same bytes; with one
unfinished file for both, what the first left in the middle of a write would be in the file of the second.
"""

from __future__ import annotations

import uuid
from pathlib import Path

UNFINISHED = ".part"


def unfinished_file(path: Path) -> Path:
    """Where to write ``path`` until it is whole: a name that no other writer on any machine has."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")


def write_whole(path: Path, data: bytes) -> None:
    """Write the file ``path``, which has its name only when it is whole. Raises OSError."""
    unfinished = unfinished_file(path)
    unfinished.write_bytes(data)
    unfinished.replace(path)


def delete_unfinished(folder: Path) -> None:
    """Delete what ended writers have left in ``folder``. Raises OSError."""
    for left in folder.glob(f"*{UNFINISHED}"):
        left.unlink(missing_ok=True)
