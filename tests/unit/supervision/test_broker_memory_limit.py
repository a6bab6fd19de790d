"""When the embedded broker is drained and restarted, and in which order."""

from __future__ import annotations

import pytest
from kafka.errors import KafkaError
from sqlalchemy.exc import OperationalError

from infrastructure.supervision.broker_memory_limit import (
    BATCHES_INTERVAL_S,
    COUNT_INTERVAL_S,
    DRAIN_S,
    MAX_BATCHES,
    BrokerContents,
    BrokerMemoryLimit,
)


class RecordedCalls:
    """Records what the limit asks of the supervisor."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.repaired = False
        self.now = 0.0

    def hold(self, name: str) -> None:
        self.made.append(f"hold {name}")

    def release(self, name: str) -> None:
        self.made.append(f"release {name}")

    def restart(self, name: str) -> None:
        self.made.append(f"restart {name}")

    def is_repaired(self, name: str) -> bool:
        return self.repaired


class GrowingLog:
    """A log of which each count finds more: ``transactions`` more, and ``records`` more in one partition of eight."""

    def __init__(self, transactions: int, records: int) -> None:
        self._by = transactions, records
        self.transactions = 1_000_000
        self.held = 0

    def count(self) -> BrokerContents:
        self.transactions += self._by[0]
        self.held += self._by[1]
        return BrokerContents(8 * self.held, self.held)


def limit_of(calls: RecordedCalls, records: int, max_records: int) -> BrokerMemoryLimit:
    """The limit of a broker with so many records, all of one transaction."""
    return BrokerMemoryLimit(calls, lambda: BrokerContents(records, records), lambda: 7, max_records, lambda: calls.now)


def restarts_within(seconds: float, log: GrowingLog) -> list[float]:
    """When the broker of a log is restarted, by the clock of the limit. Each restart is repaired and empties it."""
    calls = RecordedCalls()
    at: list[float] = []
    limit = BrokerMemoryLimit(calls, log.count, lambda: log.transactions, 1_000_000_000, lambda: calls.now)
    calls.repaired = True
    while calls.now < seconds:
        calls.now += 1.0
        limit.check()
        if calls.made.count("restart kafka") > len(at):
            at.append(calls.now)
            log.held = 0
    assert calls.made == ["hold tailer", "restart kafka", "release tailer"] * len(at)
    return at


def test_below_the_limit_nothing_happens() -> None:
    calls = RecordedCalls()
    limit = limit_of(calls, 10, 10)
    for _ in range(5):
        calls.now += COUNT_INTERVAL_S
        limit.check()
    assert calls.made == []


def test_past_the_limit_the_tailer_waits_until_the_empty_broker_has_its_topics() -> None:
    calls = RecordedCalls()
    limit = limit_of(calls, 11, 10)
    calls.now += COUNT_INTERVAL_S
    limit.check()
    assert calls.made == ["hold tailer"]
    calls.now += DRAIN_S * 0.9
    limit.check()
    assert calls.made == ["hold tailer"]
    calls.now += DRAIN_S * 0.2
    limit.check()
    limit.check()
    assert calls.made == ["hold tailer", "restart kafka"]
    calls.repaired = True
    limit.check()
    assert calls.made == ["hold tailer", "restart kafka", "release tailer"]


def test_regression_a_broker_of_many_small_batches_is_restarted_before_they_make_it_slow() -> None:
    """Only records were counted: after hours of small requests, each fetch listed the batches of all of them."""
    records = 30
    hours = restarts_within(4 * 3_600, GrowingLog(transactions=240, records=records))
    apart_s = MAX_BATCHES / records * COUNT_INTERVAL_S
    assert [round(at / apart_s) for at in hours] == [1, 2]


def test_batches_are_restarted_for_at_most_four_times_an_hour() -> None:
    at = restarts_within(3_600, GrowingLog(transactions=3_000, records=30_000))
    assert len(at) == 3
    assert all(after - before >= BATCHES_INTERVAL_S for before, after in zip([0.0, *at], at, strict=False))


def test_large_batches_are_few_whatever_their_records() -> None:
    assert restarts_within(3_600, GrowingLog(transactions=5, records=1_000_000 // 8)) == []


def test_a_log_that_was_restored_to_fewer_transactions_is_counted_from_there() -> None:
    calls, numbers = RecordedCalls(), iter([50_000, 10, *range(20, 100, 10)])
    limit = BrokerMemoryLimit(
        calls, lambda: BrokerContents(90_000, 90_000), lambda: next(numbers), 100_000, lambda: calls.now
    )
    for _ in range(8):
        calls.now += BATCHES_INTERVAL_S
        limit.check()
    assert calls.made == []


@pytest.mark.parametrize("error", [KafkaError("no answer"), OperationalError("SELECT", {}, Exception("no server"))])
def test_a_broker_whose_records_cannot_be_counted_is_asked_again(error: Exception) -> None:
    calls, asked = RecordedCalls(), []

    def count() -> BrokerContents:
        asked.append(calls.now)
        raise error

    limit = BrokerMemoryLimit(calls, count, lambda: 7, 10, lambda: calls.now)
    for _ in range(2):
        calls.now += COUNT_INTERVAL_S
        limit.check()
    assert len(asked) == 2
    assert calls.made == []
