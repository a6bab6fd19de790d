"""What values a row may hold: each is stored and shown, or refused; none stops or misleads the sink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Double,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    select,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP

from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.projection_sink import PostgresSink
from projections.core.ports import ApplyOutcome, Fence, ShardWrite, SinkRejected
from read_models.rows import RowChange, RowTable
from tests.support.worlds.counting_projection import COUNTED

FENCE = Fence("log-1", "one", 1, 10)
metadata = MetaData()
various = Table(
    "various",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("at", TIMESTAMP(timezone=True), primary_key=True),
    Column("total", Numeric, nullable=False),
    Column("data", LargeBinary),
    Column("share", Double),
)
VARIOUS = replace(COUNTED, tables=(RowTable(various, ("key", "at"), ("total",), ("data", "share")),))
HOUR = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def row(key: Any, at: Any, total: Any, data: bytes | None = None, share: float | None = None) -> RowChange:
    return RowChange("various", (key, at), (total,), (data, share))


def test_every_value_that_is_stored_is_shown_in_a_snapshot(engine: Engine) -> None:
    sink = PostgresSink(engine, VARIOUS, 1)
    sink.apply([ShardWrite(3, None, FENCE, {}, [row("ü\n\\N 1", HOUR, 10**30, b"\x00\xff", 0.1)])])
    with engine.connect() as connection:
        assert connection.execute(select(*various.c)).one()[2:] == (
            "ü\n\\N 1",
            HOUR.astimezone(UTC),
            Decimal(10**30),
            b"\x00\xff",
            0.1,
        )
    shown = f"{10**30} 00ff 0.1".encode()
    assert sink.dump(3).rows == {'various "ü\\n\\\\N 1" 2026-01-01T07:00:00+00:00': shown}


@pytest.mark.parametrize(
    "bad",
    [
        row("\ud800", HOUR, 1),
        row("no number", HOUR, "one"),
        row("no type", HOUR, 1j),
        row("no zone", HOUR.replace(tzinfo=None), 1),
        RowChange("various", ("too short", HOUR), (1,), (None,)),
    ],
    ids=lambda change: ascii(change.key[0]),
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(engine: Engine, bad: RowChange) -> None:
    sink = PostgresSink(engine, VARIOUS, 1)
    good = ShardWrite(3, None, FENCE, {"a": b"A"}, [row("a", HOUR, 1)])
    with pytest.raises(SinkRejected):
        sink.apply([good, ShardWrite(4, None, FENCE, {}, [bad])])
    assert sink.fences([3, 4]) == [None, None]
    assert sink.apply([good]) == [ApplyOutcome.APPLIED]
    assert list(sink.dump(3).rows.values()) == [b"1 null null"]
