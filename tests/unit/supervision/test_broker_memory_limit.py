"""When the embedded broker is emptied, and in which order."""

from __future__ import annotations

from kafka.errors import KafkaError

from infrastructure.supervision.broker_memory_limit import COUNT_INTERVAL_S, DRAIN_S, BrokerMemoryLimit


class Calls:
    """Remembers what the limit asked of the supervisor."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.in_order = False
        self.now = 0.0

    def hold(self, name: str) -> None:
        self.made.append(f"hold {name}")

    def release(self, name: str) -> None:
        self.made.append(f"release {name}")

    def restart(self, name: str) -> None:
        self.made.append(f"restart {name}")

    def is_in_order(self, name: str) -> bool:
        return self.in_order


def test_below_the_limit_nothing_happens() -> None:
    calls = Calls()
    limit = BrokerMemoryLimit(calls, lambda: 10, 10, lambda: calls.now)
    for _ in range(5):
        calls.now += COUNT_INTERVAL_S
        limit.look()
    assert calls.made == []


def test_past_the_limit_the_tailer_waits_until_the_empty_broker_has_its_topics() -> None:
    calls = Calls()
    limit = BrokerMemoryLimit(calls, lambda: 11, 10, lambda: calls.now)
    calls.now += COUNT_INTERVAL_S
    limit.look()
    assert calls.made == ["hold tailer"]
    calls.now += DRAIN_S * 0.9
    limit.look()
    assert calls.made == ["hold tailer"]
    calls.now += DRAIN_S * 0.2
    limit.look()
    limit.look()
    assert calls.made == ["hold tailer", "restart kafka"]
    calls.in_order = True
    limit.look()
    assert calls.made == ["hold tailer", "restart kafka", "release tailer"]


def test_a_broker_that_cannot_be_counted_is_asked_again() -> None:
    calls, asked = Calls(), []

    def count() -> int:
        asked.append(calls.now)
        raise KafkaError("no answer")

    limit = BrokerMemoryLimit(calls, count, 10, lambda: calls.now)
    for _ in range(2):
        calls.now += COUNT_INTERVAL_S
        limit.look()
    assert len(asked) == 2
    assert calls.made == []
