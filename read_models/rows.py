"""Rows that a fold changes: sums and latest values, merged in the same way in a batch, in a table and in a test.

``metadata`` is that of all read models that are tables; its naming convention is that of the whole database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import add
from typing import Any, NamedTuple

from sqlalchemy import MetaData, Table


@dataclass(frozen=True)
class RowTable:
    """A table that a sink maintains, by generation and shard.

    Its columns are ``generation``, ``shard``, then ``key`` (with the first two, unique), then ``add`` (integers, the
    sum of all changes) and ``latest`` (the value of the last change that gives one).

    Without ``add`` every change replaces the whole row: each one gives ``latest``, and a null replaces a value too. An
    order that lost its rider would keep showing that rider otherwise.
    """

    table: Table
    key: tuple[str, ...]
    add: tuple[str, ...]
    latest: tuple[str, ...] = ()


class RowChange(NamedTuple):
    """What one event changes in one row. ``latest`` is None if those columns stay unchanged."""

    table: str
    key: tuple[Any, ...]
    add: tuple[int, ...]
    latest: tuple[Any, ...] | None = None


Rows = dict[tuple[str, tuple[Any, ...]], RowChange]
"""(table, key) -> all changes of that row, merged."""


def merged(changes: Iterable[RowChange]) -> list[RowChange]:
    """One change per row, with the effect of all ``changes`` in their order."""
    rows: Rows = {}
    merge_into(rows, changes)
    return list(rows.values())


def merge_into(rows: Rows, changes: Iterable[RowChange]) -> None:
    """Merge ``changes`` into ``rows``."""
    for change in changes:
        place = (change.table, change.key)
        before = rows.get(place)
        rows[place] = change if before is None else _after(before, change)


def _after(before: RowChange, change: RowChange) -> RowChange:
    # Runs twice for every ping that analytics folds. A generator here would take three times as long.
    sums = tuple(map(add, before.add, change.add))
    latest = before.latest if change.latest is None else change.latest
    return RowChange(change.table, change.key, sums, latest)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
