"""When the embedded broker is drained and restarted, and in which order."""

from __future__ import annotations

from kafka.errors import KafkaError

from infrastructure.supervision.broker_memory_limit import COUNT_INTERVAL_S, DRAIN_S, BrokerMemoryLimit


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


def test_below_the_limit_nothing_happens() -> None:
    calls = RecordedCalls()
    limit = BrokerMemoryLimit(calls, lambda: 10, 10, lambda: calls.now)
    for _ in range(5):
        calls.now += COUNT_INTERVAL_S
        limit.check()
    assert calls.made == []


def test_past_the_limit_the_tailer_waits_until_the_empty_broker_has_its_topics() -> None:
    calls = RecordedCalls()
    limit = BrokerMemoryLimit(calls, lambda: 11, 10, lambda: calls.now)
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


def test_a_broker_whose_records_cannot_be_counted_is_asked_again() -> None:
    calls, asked = RecordedCalls(), []

    def count() -> int:
        asked.append(calls.now)
        raise KafkaError("no answer")

    limit = BrokerMemoryLimit(calls, count, 10, lambda: calls.now)
    for _ in range(2):
        calls.now += COUNT_INTERVAL_S
        limit.check()
    assert len(asked) == 2
    assert calls.made == []
