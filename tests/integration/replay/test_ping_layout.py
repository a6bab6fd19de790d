"""The condition in SQL that finds the pings of clocks that are ahead, by a few bytes of each, beside their records."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from domain.features.event_time import MAX_AHEAD_MS
from infrastructure.postgres.engine import reader_engine
from infrastructure.replay.ping_layout import MAY_BE_RECEIVED_BY, has_layout, start_of_time, window_of
from tests.support.postgres.recorded_log import CODEC
from tests.support.worlds.rider_events import START_MS
from tests.support.worlds.speed_events import ping_data

PASSES = text(
    f"SELECT {MAY_BE_RECEIVED_BY} FROM unnest(CAST(:payloads AS bytea[]), CAST(:starts AS int[]))"
    " WITH ORDINALITY AS u(payload, start, ord) ORDER BY ord"
)


@pytest.fixture
def connection(postgres_url: str) -> Iterator[Connection]:
    engine = reader_engine(postgres_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def payload_of(rider: str, sent_ms: int, received_ms: int, **values: Any) -> bytes:
    extra = {"received_timestamp_ms": received_ms, "source_service": "test", "is_mock": None}
    return CODEC.encode("GpsPing", {**ping_data(rider, sent_ms, 1, **extra), **values})


def passes(connection: Connection, payloads: list[bytes], riders: list[str], by_ms: int) -> list[bool]:
    starts = [start_of_time(rider) for rider in riders]
    values = {"payloads": payloads, "starts": starts, "by_window": window_of(by_ms)}
    return list(connection.execute(PASSES, values).scalars())


def test_no_ping_that_was_received_by_the_instant_is_passed_over(connection: Connection) -> None:
    """Given pings that were sent to be up to 5 minutes after an instant, then each received by it meets the condition.

    Those received in the 8.7 minutes after it do not meet it. All values that may be null are so by chance.
    """
    chance = random.Random(7)
    for _ in range(20):
        by_ms = START_MS + chance.randrange(10**10)
        riders, payloads, received = [], [], []
        for nth in range(200):
            sent_ms = by_ms + 1 + chance.randrange(MAX_AHEAD_MS)
            at_ms = chance.choice([by_ms, by_ms + 1, by_ms + 524_287, sent_ms - MAX_AHEAD_MS, sent_ms, sent_ms - 2_001])
            optional = {"accuracy_meters": chance.choice([None, 5.0]), "speed_mps": chance.choice([None, 3.0])}
            riders.append("r" * chance.choice([1, 63, 64, 120]) + str(nth))
            payloads.append(payload_of(riders[-1], sent_ms, at_ms, **optional))
            received.append(at_ms)
            assert has_layout(payloads[-1], riders[-1], at_ms)
        found = passes(connection, payloads, riders, by_ms)
        assert found == [at_ms <= by_ms for at_ms in received]


@pytest.mark.parametrize("received_ms", [0, 1, 2**42, 2**43])
def test_a_reception_of_another_length_is_left_to_the_record(connection: Connection, received_ms: int) -> None:
    """Given a reception that takes other than six bytes, or none, then the condition holds, so that it is decoded."""
    payload = payload_of("anna", START_MS + 60_000, received_ms)
    assert passes(connection, [payload], ["anna"], START_MS) == [True]


def test_a_payload_that_ends_early_is_left_to_the_record(connection: Connection) -> None:
    """Given payloads cut after the least bytes, then no query fails, and those without a reception hold."""
    whole = payload_of("anna", START_MS + 60_000, START_MS + 60_000)
    payloads = [whole[:size] for size in range(start_of_time("anna") + 20, len(whole) + 1)]
    found = passes(connection, payloads, ["anna"] * len(payloads), START_MS)
    assert found == sorted(found, reverse=True)
    assert found[0]
    assert not found[-1]
