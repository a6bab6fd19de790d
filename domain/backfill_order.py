"""The order of a batch of history in the log: ping by ping as they came, where live batches go rider by rider."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from eventsourcing.persistence import StoredEvent

from domain.ping_decisions import Decision, key_of
from domain.rider import PingKey


class Placed(NamedTuple):
    """An event of a batch: brought by its ``nth`` ping, and at ``offset`` in its decision.

    ``received_ms`` is that ping's reception in epoch milliseconds; ``key`` is None for an event that is no ping: the
    registration, which its rider's first ping brings.
    """

    nth: int
    offset: int
    decision: Decision
    received_ms: int
    key: PingKey | None

    @property
    def event(self) -> StoredEvent:
        return self.decision.events[self.offset]


def in_order(decisions: Iterable[Decision]) -> list[Placed]:
    """Every event of a decided batch, in the order of its pings."""
    placed: list[Placed] = []
    for decision in decisions:
        by_offset = {offset: key for key, offset in decision.recorded_as.items()}
        # Of repeats within the batch the first is the one that is recorded.
        first = {key_of(ping): (nth, ping) for nth, ping in reversed(decision.pings)}
        for offset in range(len(decision.events)):
            key = by_offset.get(offset)
            nth, ping = decision.pings[0] if key is None else first[key]
            placed.append(Placed(nth, offset, decision, ping.received_timestamp_ms, key))
    # A ping belongs to one rider, so that nth and offset decide before a decision would be compared.
    placed.sort()
    return placed


def place_in_order(placed: Iterable[Placed], first_position: int) -> None:
    """After the append: the batch was recorded from ``first_position`` on, in the order of ``placed``."""
    for position, each in enumerate(placed, start=first_position):
        if each.key is not None:
            each.decision.known_at[each.key] = position
