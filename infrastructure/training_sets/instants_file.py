"""Reads a file of orders and instants, and splits it by shard: one line at a time, so its size does not matter."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from domain.identifiers import shard_of
from infrastructure.errors import UserError
from infrastructure.timestamps import time_ms
from infrastructure.training_sets.order_shards import OrderFiles
from infrastructure.training_sets.spool import SpoolWriter

TIME, POSITION = "time", "position"
MAX_LINE_CHARS = 1_000
"""Bounds the memory that one line of a file from outside can take: an order id has at most 128 code points."""
MAX_POSITION = 2**62


def file_sha256(path: Path) -> str:
    """Raises UserError if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def write_instants(path: Path, sha256: str, shards: Sequence[OrderFiles]) -> None:
    """Split the file by the shard of the order. Raises UserError for another file, or for a line that is no instant."""
    if file_sha256(path) != sha256:
        raise UserError(f"{path} is not the file that the set was made from, or it changed meanwhile")
    with ExitStack() as stack:
        spools = [stack.enter_context(SpoolWriter(one.instants, max_waiting_bytes=1 << 18)) for one in shards]
        for order_id, number in read_instants(path):
            spools[shard_of(order_id)].add(0, (order_id, number))


def instants_column(path: Path) -> str:
    """``time`` or ``position``: the second column of the file. Raises UserError for another header."""
    with _opened(path) as lines:
        return _column(path, next(csv.reader(lines), []))


def read_instants(path: Path) -> Iterator[tuple[str, int]]:
    """Orders and times (epoch ms) or positions. Raises UserError for a line that is none."""
    with _opened(path) as lines:
        rows = csv.reader(lines)
        column = _column(path, next(rows, []))
        for row in rows:
            if not row:
                continue
            try:
                order_id, text = row
                yield order_id, time_ms(text) if column == TIME else _position(text)
            except ValueError as error:
                raise UserError(f"{path}, line {rows.line_num}: not an order and a {column}: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a file, none of them too long."""

    def lines(file: TextIO) -> Iterator[str]:
        number = 0
        while line := file.readline(MAX_LINE_CHARS):
            number += 1
            if len(line) == MAX_LINE_CHARS:
                raise UserError(f"{path}, line {number}: longer than {MAX_LINE_CHARS} characters")
            yield line

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield lines(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _column(path: Path, header: Sequence[str]) -> str:
    names = [name.strip() for name in header]
    if names not in (["order_id", TIME], ["order_id", POSITION]):
        raise UserError(f"{path} begins with {','.join(names)[:80]!r}, not with order_id,time or order_id,position")
    return names[1]


def _position(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_POSITION:
        raise ValueError(f"{text[:40]!r} is no position")
    return int(text)
