"""External merge sort: sorts any number of entries in bounded memory.

A sorted run on disk consists of blocks of entries, so that a merge holds one block per run in memory.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from domain.gps_ping import GpsPing

BLOCK_ENTRIES = 200
"""Entries of a run that a merge holds in memory."""

_LENGTH = struct.Struct(">I")


class SortEntry(NamedTuple):
    """A valid ping and where it was read: the ``line`` of a ``file``, numbered in the order of the command line.

    Entries sort by reception (epoch milliseconds), then by file and line, which are unique. ``cells`` are the row's
    cells as bytes, which keep what was not valid UTF-8.
    """

    received_ms: int
    file: int
    line: int
    ping: GpsPing
    cells: tuple[bytes, ...]


E = TypeVar("E", bound=tuple[Any, ...])
"""A NamedTuple. Entries sort as tuples, so their first fields must be unique together."""

_ENCODER = msgspec.msgpack.Encoder()


def write_run(path: Path, entries: Iterable[tuple[Any, ...]]) -> None:
    """Write ``entries``, which are sorted already. Raises OSError."""
    rest = iter(entries)
    with path.open("wb") as file:
        while block := list(islice(rest, BLOCK_ENTRIES)):
            data = _ENCODER.encode(block)
            file.write(_LENGTH.pack(len(data)))
            file.write(data)


def read_run(path: Path, kind: type[E]) -> Iterator[E]:
    """Read what ``write_run`` wrote of this kind of entries, block by block. Raises OSError."""
    decoder = msgspec.msgpack.Decoder(list[kind])  # type: ignore[valid-type]
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            yield from decoder.decode(file.read(_LENGTH.unpack(head)[0]))


RUN_ENTRIES = 100_000
FAN_IN = 64


class ExternalSorter(Generic[E]):
    """Takes entries in any order and returns them sorted. What does not fit in memory is stored in ``directory``.

    Holds at most ``run_entries`` entries, and ``fan_in`` open files for each power of ``fan_in`` in the number of
    runs. A process may open about a thousand files, and years of tracks need more runs than that.
    """

    def __init__(self, directory: Path, kind: type[E], *, run_entries: int = RUN_ENTRIES, fan_in: int = FAN_IN) -> None:
        self._directory = directory
        self._kind = kind
        self._run_entries = run_entries
        self._fan_in = fan_in
        self._held: list[E] = []
        self._levels: list[list[Path]] = []
        self._runs_written = 0
        self.count = 0

    def add(self, entry: E) -> None:
        """Add an entry. Raises OSError if the disk has no space for a run."""
        self._held.append(entry)
        self.count += 1
        if len(self._held) >= self._run_entries:
            self._held.sort()
            self._add_run(0, lambda path: write_run(path, self._held))
            self._held = []

    def in_order(self) -> Iterator[E]:
        """All entries, sorted. May be called once, at the end. Raises OSError."""
        self._held.sort()
        runs = [read_run(path, self._kind) for level in self._levels for path in level]
        return heapq.merge(*runs, self._held)

    def _add_run(self, level: int, write: Callable[[Path], None]) -> None:
        """Write a new run on ``level``; a full level is merged into one run of the next level."""
        self._runs_written += 1
        path = self._directory / f"run-{self._runs_written}"
        write(path)
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(path)
        if len(runs) >= self._fan_in:
            merged_runs = [read_run(run, self._kind) for run in runs]
            self._add_run(level + 1, lambda path: write_run(path, heapq.merge(*merged_runs)))
            for merged in runs:
                merged.unlink()
            runs.clear()
