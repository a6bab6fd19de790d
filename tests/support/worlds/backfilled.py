"""Reads what a backfill recorded with plain SQL, and checks the rules that hold for every log."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import create_engine, text

from domain.events.contracts import Codec
from infrastructure.settings.postgres_url import sqlalchemy_url
from tests.support.ports_in_memory.schema_ids import LocalSchemaIds

_EVENTS = text(
    "SELECT position, (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded_us, aggregate_key, version,"
    " shard, seq, event_type, payload FROM events ORDER BY position"
)
_HEAD = text(
    "SELECT position, (extract(epoch FROM recorded_at) * 1000000)::bigint FROM log_numbers ORDER BY number DESC LIMIT 1"
)


class LoggedPing(NamedTuple):
    """A recorded ping; times in epoch milliseconds."""

    rider_id: str
    event_ms: int
    recorded_ms: int


def head_position(url: str) -> int:
    """The last assigned position."""
    engine = create_engine(sqlalchemy_url(url))
    with engine.connect() as connection:
        row = connection.execute(_HEAD).one()
    engine.dispose()
    return int(row[0])


def pings_in(url: str) -> list[LoggedPing]:
    """All pings by position, after checking the order, the numbers and that reception is the time of recording."""
    engine = create_engine(sqlalchemy_url(url))
    with engine.connect() as connection:
        rows = connection.execute(_EVENTS).all()
        head = tuple(connection.execute(_HEAD).one())
    engine.dispose()
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    times = [row.recorded_us for row in rows]
    assert times == sorted(times)
    assert head == (len(rows), times[-1] if rows else 0)
    decode = Codec(LocalSchemaIds()).decode
    numbers: dict[object, list[int]] = {}
    found: list[LoggedPing] = []
    registered: dict[str, int] = {}
    for row in rows:
        numbers.setdefault(row.aggregate_key, []).append(row.version)
        numbers.setdefault(row.shard, []).append(row.seq)
        data = decode(bytes(row.payload))
        if row.event_type == "RiderRegistered":
            registered[row.aggregate_key] = row.recorded_us
            continue
        assert row.recorded_us == data["received_timestamp_ms"] * 1000
        if row.version == 2:
            assert registered[row.aggregate_key] == row.recorded_us, "registered when its first ping was received"
        found.append(LoggedPing(row.aggregate_key, data["event_timestamp_ms"], data["received_timestamp_ms"]))
    assert all(each == list(range(1, len(each) + 1)) for each in numbers.values())
    return found
