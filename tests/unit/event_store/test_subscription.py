"""The library's subscription polls the log, more and more slowly while it is idle."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import Notification
from eventsourcing.popo import POPOApplicationRecorder

from infrastructure.event_store.subscription import PollingSubscription


def at(position: int) -> Notification:
    return Notification(id=position, originator_id=UUID(int=1), originator_version=position, topic="a topic", state=b"")


class ScriptedLog(POPOApplicationRecorder):
    """Returns one part of the log for each poll, and records what was asked for."""

    def __init__(self, *polls: list[Notification]) -> None:
        super().__init__()
        self.polls = list(polls)
        self.asked: list[tuple[int | None, Sequence[str], bool]] = []

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[Notification]:
        self.asked.append((start, topics, inclusive_of_start))
        return self.polls.pop(0)


class RecordedWaits(threading.Event):
    """Returns from each wait at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_s: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits_s.append(timeout)
        return self.is_set()


def subscription_of(log: ScriptedLog, **options: Any) -> tuple[PollingSubscription, RecordedWaits]:
    subscription, waits = PollingSubscription(log, **options), RecordedWaits()
    subscription._stopped = waits
    return subscription, waits


def test_notifications_come_in_order_and_each_poll_follows_the_last_one() -> None:
    log = ScriptedLog([at(4), at(5)], [at(6)])
    subscription, waits = subscription_of(log, gt=3, topics=["a topic"])
    assert [next(subscription).id for _ in range(3)] == [4, 5, 6]
    assert log.asked == [(3, ["a topic"], False), (5, ["a topic"], False)]
    assert waits.waits_s == []


def test_an_idle_subscription_polls_more_slowly_up_to_twice_a_second() -> None:
    log = ScriptedLog(*[[]] * 8, [at(1)], [], [at(2)])
    subscription, waits = subscription_of(log)
    assert next(subscription).id == 1
    assert waits.waits_s == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    assert next(subscription).id == 2
    assert waits.waits_s[8:] == [0.01]


def test_a_stopped_subscription_ends() -> None:
    subscription, _ = subscription_of(ScriptedLog([at(1), at(2)]))
    assert next(subscription).id == 1
    subscription.stop()
    with pytest.raises(StopIteration):
        next(subscription)
