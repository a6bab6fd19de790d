"""Sorted runs on disk: entries in blocks, so that a merge holds one block a run in memory."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from domain.gps_ping import GpsPing

BLOCK = 200
"""Entries that are read at once."""

_LENGTH = struct.Struct(">I")


class Entry(NamedTuple):
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
_DECODER = msgspec.msgpack.Decoder(list[Entry])


def write_run(path: Path, entries: Iterable[Entry]) -> None:
    """Write ``entries``, which are in order. Raises OSError."""
    rest = iter(entries)
    with path.open("wb") as file:
        while block := list(islice(rest, BLOCK)):
            data = _ENCODER.encode(block)
            file.write(_LENGTH.pack(len(data)))
            file.write(data)


def read_run(path: Path) -> Iterator[Entry]:
    """What ``write_run`` wrote, block by block. Raises OSError."""
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            yield from _DECODER.decode(file.read(_LENGTH.unpack(head)[0]))
