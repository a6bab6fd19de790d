"""The polling relay's loop: from the table by position, and the mark only behind what Kafka has acknowledged."""

from __future__ import annotations

import pytest

from infrastructure.cdc.in_flight import InFlightTransactions
from infrastructure.cdc.polling_relay import POLL_INTERVAL_S, Poller
from tests.unit.cdc.scripted_tailer import ImmediateSaver, ScriptedEvents, ScriptedPublisher, positions_of

UNLIMITED = 10**9


class Relay:
    """A poller, the table, Kafka and the mark as a test says, and the pauses that it made."""

    def __init__(self, head: int, mark: int | None = 0, room: int = UNLIMITED) -> None:
        self.events, self.publisher, self.saver = ScriptedEvents(head), ScriptedPublisher(room), ImmediateSaver()
        self.pauses: list[float] = []
        self.poller = Poller(InFlightTransactions(self.publisher, mark), self.events, self.saver, self.pauses.append)

    def acknowledge_all(self) -> None:
        self.publisher.acknowledge, self.publisher.sealed = self.publisher.sealed, []


@pytest.mark.parametrize("mark", [0, None])
def test_events_are_read_from_the_mark_on_a_chunk_at_a_time(mark: int | None) -> None:
    relay = Relay(head=5, mark=mark)
    assert [relay.poller.step(1.0) for _ in range(4)] == [2, 2, 1, 0]
    assert positions_of(relay.publisher) == [1, 2, 3, 4, 5]
    assert [after for after, _ in relay.events.asked] == [0, 2, 4, 5]


def test_a_relay_goes_on_behind_its_mark() -> None:
    relay = Relay(head=5, mark=3)
    assert relay.poller.step(1.0) == 2
    assert positions_of(relay.publisher) == [4, 5]


def test_the_mark_moves_when_all_up_to_it_is_acknowledged_and_with_no_lsn() -> None:
    relay = Relay(head=4)
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


def test_nothing_is_read_while_kafka_takes_nothing() -> None:
    relay = Relay(head=100_000, room=0)
    relay.events.chunk = 30_000
    assert relay.poller.step(1.0) == 30_000
    assert relay.poller.step(1.0) == 0
    assert len(relay.events.asked) == 1
    relay.publisher.room = UNLIMITED
    assert relay.poller.step(1.0) == 30_000
    assert positions_of(relay.publisher) == list(range(1, 60_001))


@pytest.mark.parametrize(("timeout_s", "paused"), [(1.0, POLL_INTERVAL_S), (0.01, 0.01)])
def test_a_relay_with_nothing_to_do_polls_again_soon(timeout_s: float, paused: float) -> None:
    relay = Relay(head=0)
    relay.poller.step(timeout_s)
    assert relay.pauses == [paused]


@pytest.mark.parametrize(("timeout_s", "paused"), [(1.0, 0.005), (0.001, 0.001)])
def test_a_relay_that_waits_for_kafka_asks_it_sooner(timeout_s: float, paused: float) -> None:
    relay = Relay(head=1)
    relay.poller.step(timeout_s)
    assert relay.pauses == []
    relay.poller.step(timeout_s)
    assert relay.pauses == [paused]


def test_a_relay_that_hands_over_what_waited_makes_no_pause() -> None:
    relay = Relay(head=2, room=1)
    relay.poller.step(1.0)
    relay.publisher.room = 1
    relay.poller.step(1.0)
    assert relay.pauses == []
    relay.poller.step(1.0)
    assert len(relay.pauses) == 1
