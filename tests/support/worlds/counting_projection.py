"""A projection with a table, for tests of sinks with rows: how often each key was seen in each hour."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Integer, MetaData, SmallInteger, Table, Text

from domain.features.keyed_event import KeyedEvent
from projections.core.projection import Projection
from read_models.rows import RowChange, RowTable

metadata = MetaData()
counted = Table(
    "counted",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("seen", BigInteger, nullable=False),
    Column("small", SmallInteger, nullable=False),
    Column("last", BigInteger),
)
ROWS = RowTable(counted, key=("key", "hour"), add=("seen", "small"), latest=("last",))


class Count(NamedTuple):
    events: int = 0
    hour: int = 0
    last: int = 0
    small: int = 0


def fold(state: Count, event: KeyedEvent) -> Count:
    t_ms = event.data["event_timestamp_ms"]
    return Count(state.events + 1, t_ms // 3_600_000, t_ms, event.data.get("small", 0))


def changes(key: str, state: Count) -> Sequence[RowChange]:
    return [RowChange("counted", (key, state.hour), (1, state.small), (state.last,))]


def encode(state: Count) -> bytes:
    return struct.pack(">qqqq", *state)


def decode(data: bytes) -> Count:
    return Count(*struct.unpack(">qqqq", data))


COUNTED: Projection[Count] = Projection(
    name="counted",
    stream="Rider",
    fold_version=1,
    initial=Count(),
    fold=fold,
    encode=encode,
    decode=decode,
    store="postgres",
    tables=(ROWS,),
    changes=changes,
)
