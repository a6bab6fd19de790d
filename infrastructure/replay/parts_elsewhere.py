"""The port through which other machines make the parts of an output, in a folder that they and the command reach.

The command writes what they need into the folder: the request, and everything that the rows depend on. A machine with
other code, another log or other arithmetic refuses, because one manifest must be true of the rows of all parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec

from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.process_pool import OnTick
from infrastructure.replay.all_keys import REQUEST
from infrastructure.replay.whole_files import write_whole

WORK = "work.json"
"""The request, as the machine that makes parts reads it."""

T = TypeVar("T")


class PartsOrder(NamedTuple):
    """Parts that are to be made in ``folder``.

    ``kind``: the name of the output, by which the other machines find the code. ``step``: the number of the pass.
    ``in_order``: one machine gets a range of the parts, since each goes on where the one before has ended.
    """

    kind: str
    folder: Path
    step: int
    parts: Sequence[int]
    in_order: bool = False


class PartsElsewhere(Protocol):
    """Makes parts on other machines."""

    def claim(self, folder: Path) -> None:
        """End what a killed command has left at work in ``folder``; called before anything there is deleted.

        Raises UserError.
        """

    def make(self, order: PartsOrder, on_tick: OnTick) -> None:
        """Return once all parts are made; ``on_tick`` is called meanwhile. Raises UserError."""


def share_of(parts: Sequence[int], number: int, workers: int, *, in_order: bool) -> Sequence[int]:
    """The parts that the worker ``number`` of so many makes; empty if there are too few."""
    if not in_order:
        return parts[number::workers]
    size = -(-len(parts) // workers)
    return parts[number * size : (number + 1) * size]


class FinishedParts:
    """Counts what finished parts have made, as their result files appear. ``counted``: the field of a result."""

    def __init__(self, results: Iterable[Path], counted: str) -> None:
        self._left = set(results)
        self._counted = counted

    def count_new(self) -> int:
        """The count of the parts that were finished since the last call. Raises OSError."""
        found = [path for path in self._left if path.exists()]
        self._left.difference_update(found)
        return sum(int(msgspec.json.decode(path.read_bytes())[self._counted]) for path in found)


def write_work(folder: Path, request: Any) -> None:
    """Write the request for the machines that make parts. Raises OSError."""
    write_whole(folder / WORK, msgspec.json.encode(request))


def read_work(folder: Path, kind: type[T]) -> T:
    """The request that the command wrote. Raises UserError if this machine does not see its folder."""
    try:
        return msgspec.json.decode((folder / WORK).read_bytes(), type=kind)
    except OSError as error:
        raise UserError(
            f"this machine does not see the folder of the command ({error}): --out must be in a directory that every "
            "machine of the cluster reaches by the same path"
        ) from error


def refuse_other_log(backends: Backends, stream: str, log_id: UUID | str) -> None:
    """Raises UserError if the database of this machine has another log than the command."""
    own = backends.log.head(stream).log_id
    if str(own) != str(log_id):
        raise UserError(
            f"this machine reads the log {own}, and the command the log {log_id}: set RIDELOG_POSTGRES_URL to the "
            "same database"
        )


def refuse_other_identity(folder: Path, own: bytes) -> None:
    """Raises UserError if rows that are made here would depend on something else than those of the command.

    ``own``: what ``delete_foreign_parts`` got from the command, as this machine has it.
    """
    theirs = (folder / REQUEST).read_bytes()
    if own != theirs:
        differing = ", ".join(_differing(msgspec.json.decode(theirs), msgspec.json.decode(own)))
        raise UserError(
            f"this machine would make other rows than the command, because of: {differing}. Let it read the same "
            "database, and have the same code, Python, packages and kind of processor"
        )


def _differing(theirs: Mapping[str, Any], own: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name in sorted({*theirs, *own}):
        one, other = theirs.get(name), own.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differing(one, other, f"{prefix}{name}.")
        elif one != other:
            found.append(f"{prefix}{name}")
    return found
