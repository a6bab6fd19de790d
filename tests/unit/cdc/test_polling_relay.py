"""The polling relay's loop: reads the table by position, and saves only positions that Kafka has acknowledged."""

from __future__ import annotations

import pytest

from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.polling_relay import POLL_INTERVAL_S, Poller
from tests.unit.cdc.scripted_tailer import ImmediateSaver, ScriptedEvents, ScriptedPublisher, positions_of

UNLIMITED = 10**9


class ScriptedRelay:
    """A poller on a scripted table, publisher and checkpoint; records its waits."""

    def __init__(self, head: int, checkpoint: int | None = 0, room: int = UNLIMITED) -> None:
        self.events, self.publisher, self.saver = ScriptedEvents(head), ScriptedPublisher(room), ImmediateSaver()
        self.waits_s: list[float] = []
        self.poller = Poller(
            InFlightTransactions(self.publisher, checkpoint), self.events, self.saver, self.waits_s.append
        )

    def acknowledge_all(self) -> None:
        self.publisher.acknowledge, self.publisher.sealed = self.publisher.sealed, []


@pytest.mark.parametrize("checkpoint", [0, None])
def test_events_are_read_after_the_checkpoint_one_chunk_at_a_time(checkpoint: int | None) -> None:
    relay = ScriptedRelay(head=5, checkpoint=checkpoint)
    assert [relay.poller.step(1.0) for _ in range(4)] == [2, 2, 1, 0]
    assert positions_of(relay.publisher) == [1, 2, 3, 4, 5]
    assert [after for after, _ in relay.events.asked] == [0, 2, 4, 5]


def test_a_relay_resumes_after_its_checkpoint() -> None:
    relay = ScriptedRelay(head=5, checkpoint=3)
    assert relay.poller.step(1.0) == 2
    assert positions_of(relay.publisher) == [4, 5]


def test_the_checkpoint_advances_when_all_up_to_it_is_acknowledged_and_has_no_lsn() -> None:
    relay = ScriptedRelay(head=4)
    relay.poller.step(1.0)
    relay.poller.step(1.0)
    assert relay.saver.position == 0
    relay.publisher.acknowledge = [2]
    relay.poller.step(1.0)
    assert relay.saver.position == 0
    relay.publisher.acknowledge = [1]
    relay.poller.step(1.0)
    assert relay.saver.position == 4
    assert relay.saver.lsn == 0


def test_nothing_is_read_while_kafka_accepts_nothing() -> None:
    relay = ScriptedRelay(head=100_000, room=0)
    relay.events.chunk = 30_000
    assert relay.poller.step(1.0) == 30_000
    assert relay.poller.step(1.0) == 0
    assert len(relay.events.asked) == 1
    relay.publisher.room = UNLIMITED
    assert relay.poller.step(1.0) == 30_000
    assert positions_of(relay.publisher) == list(range(1, 60_001))


@pytest.mark.parametrize(("timeout_s", "waited_s"), [(1.0, POLL_INTERVAL_S), (0.01, 0.01)])
def test_a_relay_with_nothing_to_do_polls_again_soon(timeout_s: float, waited_s: float) -> None:
    relay = ScriptedRelay(head=0)
    relay.poller.step(timeout_s)
    assert relay.waits_s == [waited_s]


@pytest.mark.parametrize(("timeout_s", "waited_s"), [(1.0, 0.005), (0.001, 0.001)])
def test_a_relay_with_records_in_flight_polls_kafka_sooner(timeout_s: float, waited_s: float) -> None:
    relay = ScriptedRelay(head=1)
    relay.poller.step(timeout_s)
    assert relay.waits_s == []
    relay.poller.step(timeout_s)
    assert relay.waits_s == [waited_s]


def test_a_relay_that_hands_over_waiting_records_does_not_wait() -> None:
    relay = ScriptedRelay(head=2, room=1)
    relay.poller.step(1.0)
    relay.publisher.room = 1
    relay.poller.step(1.0)
    assert relay.waits_s == []
    relay.poller.step(1.0)
    assert len(relay.waits_s) == 1
