"""External merge sort of entries: any number of them in bounded memory."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from domain.gps_ping import GpsPing

BLOCK = 200
"""Entries that are read at once."""

_LENGTH = struct.Struct(">I")


class SortEntry(NamedTuple):
    """A ping that may be recorded, and where it was read: the ``line`` of a file, numbered as the user named them.

    Entries order by reception (epoch milliseconds), then file and line, which no two share. ``cells`` are the row's
    as bytes, with what was not UTF-8 in them.
    """

    received_ms: int
    file: int
    line: int
    ping: GpsPing
    cells: tuple[bytes, ...]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[SortEntry])


def write_run(path: Path, entries: Iterable[SortEntry]) -> None:
    """Write ``entries``, which are in order. Raises OSError."""
    rest = iter(entries)
    with path.open("wb") as file:
        while block := list(islice(rest, BLOCK)):
            data = _ENCODER.encode(block)
            file.write(_LENGTH.pack(len(data)))
            file.write(data)


def read_run(path: Path) -> Iterator[SortEntry]:
    """What ``write_run`` wrote, block by block. Raises OSError."""
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            yield from _DECODER.decode(file.read(_LENGTH.unpack(head)[0]))


RUN_ENTRIES = 100_000
FAN_IN = 64


class ExternalSorter:
    """Takes entries in any order and gives them back in theirs; what does not fit in memory lies in ``directory``.

    Holds at most ``run_entries`` entries, and ``fan_in`` open files for each power of ``fan_in`` in the number of
    runs: a process may open a thousand files, and years of tracks make more runs than that.
    """

    def __init__(self, directory: Path, *, run_entries: int = RUN_ENTRIES, fan_in: int = FAN_IN) -> None:
        self._directory = directory
        self._run_entries = run_entries
        self._fan_in = fan_in
        self._held: list[SortEntry] = []
        self._levels: list[list[Path]] = []
        self._made = 0
        self.count = 0

    def add(self, entry: SortEntry) -> None:
        """Take one. Raises OSError where there is no room for a run."""
        self._held.append(entry)
        self.count += 1
        if len(self._held) >= self._run_entries:
            self._held.sort()
            self._keep(0, lambda path: write_run(path, self._held))
            self._held = []

    def in_order(self) -> Iterator[SortEntry]:
        """All that were taken; once, at the end. Raises OSError."""
        self._held.sort()
        runs = [read_run(path) for level in self._levels for path in level]
        return heapq.merge(*runs, self._held)

    def _keep(self, level: int, write: Callable[[Path], None]) -> None:
        """A new run on ``level``; a full level becomes one run of the next."""
        self._made += 1
        path = self._directory / f"run-{self._made}"
        write(path)
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(path)
        if len(runs) >= self._fan_in:
            self._keep(level + 1, lambda path: write_run(path, heapq.merge(*map(read_run, runs))))
            for merged in runs:
                merged.unlink()
            runs.clear()
