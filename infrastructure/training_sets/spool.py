"""A file of records by group, between two passes over a log: written once, then read group by group.

Records wait in memory by group and are written in blocks, so memory is bounded however many there are. The file is
complete when its index exists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from infrastructure.replay.whole_files import unfinished_file, write_whole

MAX_WAITING_BYTES = 16 << 20
"""Records in memory before they are written."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class SpoolWriter:
    """Writes ``path`` and its index. Use it as a context: after an error there is no index. Raises OSError."""

    def __init__(self, path: Path, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._path = path
        self._max_waiting_bytes = max_waiting_bytes
        self._blocks: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._waiting: defaultdict[int, list[bytes]] = defaultdict(list)
        self._bytes = 0
        self._unfinished = unfinished_file(path)
        self._file = self._unfinished.open("wb")

    def add(self, group: int, record: Any) -> None:
        """Add a record: tuples and lists of numbers, texts and bytes; it is read as a list."""
        data = _encode(record)
        self._waiting[group].append(data)
        self._bytes += len(data)
        if self._bytes > self._max_waiting_bytes:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, _: object, _traceback: TracebackType | None) -> None:
        with self._file:
            if error is None:
                self._flush()
        if error is not None:
            self._unfinished.unlink(missing_ok=True)
            return
        self._unfinished.replace(self._path)
        write_whole(_index(self._path), _encode(dict(self._blocks)))

    def _flush(self) -> None:
        for group, records in self._waiting.items():
            # A list of records, without a copy of each: the header of a long array, then the records.
            block = b"\xdd" + len(records).to_bytes(4) + b"".join(records)
            self._blocks[group].append((self._file.tell(), len(block)))
            self._file.write(block)
        self._waiting.clear()
        self._bytes = 0


class SpoolReader:
    """Reads the groups of one file. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks: dict[int, list[tuple[int, int]]] = msgspec.msgpack.decode(
            _index(path).read_bytes(), type=dict[int, list[tuple[int, int]]]
        )

    def groups(self) -> list[int]:
        """The groups that have records, ascending."""
        return sorted(self._blocks)

    def read(self, group: int) -> Iterator[Any]:
        """The records of a group in the order of writing; a block of them is in memory."""
        blocks = self._blocks.get(group, [])
        if blocks:
            with self._path.open("rb") as file:
                for offset, length in blocks:
                    file.seek(offset)
                    yield from _decode(file.read(length))


def _index(path: Path) -> Path:
    return path.with_suffix(".index")
