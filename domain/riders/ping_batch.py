"""Decides a batch of pings rider by rider. Pure, so that it can be repeated inside the log's lock.

A live batch is recorded rider by rider. A batch of history is recorded ping by ping, in the order in which its pings
were received.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from eventsourcing.persistence import StoredEvent

from domain.errors import PingRejected
from domain.event_store import PingIdentity
from domain.gps_ping import GpsPing
from domain.identifiers import aggregate_id
from domain.origin import Origin, made_command_id
from domain.riders.rider import PingKey, Rider


class PingOutcome(NamedTuple):
    """The result for one ping. ``position`` is where it is recorded, None if it was rejected."""

    position: int | None
    is_new: bool
    rejection: PingRejected | None = None


class RecordedPing(NamedTuple):
    """A ping found in the log; ``ping`` is None if its bytes cannot be decoded."""

    position: int
    ping: GpsPing | None


@dataclass
class Decision:
    """One rider's part of a batch: its pings with their indices in the batch, and the decisions on them."""

    rider_id: str
    pings: list[tuple[int, GpsPing]] = field(default_factory=list)
    rider: Rider | None = None
    events: list[StoredEvent] = field(default_factory=list)
    recorded_as: dict[PingKey, int] = field(default_factory=dict)
    """Index in ``events`` of each ping that is new in this batch."""
    known_at: dict[PingKey, int] = field(default_factory=dict)
    rejections: dict[int, PingRejected] = field(default_factory=dict)

    @property
    def loaded(self) -> Rider:
        assert self.rider is not None, "the rider is loaded before anything is decided"
        return self.rider


def ping_key(ping: GpsPing) -> PingKey:
    return (ping.event_timestamp_ms, ping.event_id)


def group_by_rider(pings: Sequence[GpsPing]) -> list[Decision]:
    """One undecided part per rider, in the order in which riders first appear."""
    by_rider: dict[str, Decision] = {}
    for index, ping in enumerate(pings):
        decision = by_rider.get(ping.rider_id)
        if decision is None:
            decision = by_rider[ping.rider_id] = Decision(ping.rider_id)
        decision.pings.append((index, ping))
    return list(by_rider.values())


def registered_by(ping: GpsPing) -> Rider:
    """A new rider, registered by the first ping."""
    command_id = made_command_id(aggregate_id(Rider.AGGREGATE_TYPE, ping.rider_id), 0)
    origin = Origin(command_id=command_id, caused_by=ping.event_id)
    return Rider.register(ping.rider_id, ping.received_timestamp_ms, origin)


def identities_to_check(decisions: Iterable[Decision]) -> dict[PingIdentity, str]:
    """Identities to look up in the log, with their riders: those of pings no later than the latest recorded one."""
    to_check: dict[PingIdentity, str] = {}
    for decision in decisions:
        rider = decision.loaded
        for _, ping in decision.pings:
            if rider.may_have_recorded(ping):
                to_check[PingIdentity(rider.id, ping.event_timestamp_ms, ping.event_id)] = decision.rider_id
    return to_check


def apply_pings(decision: Decision, recorded: Mapping[PingKey, RecordedPing]) -> None:
    """Apply the pings to their rider; its pending events are then what is to be recorded."""
    rider = decision.loaded
    known = {key: found.ping for key, found in recorded.items()}
    decision.known_at = {key: found.position for key, found in recorded.items()}
    decision.recorded_as, decision.rejections = {}, {}
    for index, ping in decision.pings:
        try:
            is_new = rider.record_ping(ping, known)
        except PingRejected as rejection:
            decision.rejections[index] = rejection
            continue
        if is_new:
            known[ping_key(ping)] = ping
            decision.recorded_as[ping_key(ping)] = len(rider.pending_events) - 1


def events_in_rider_order(decisions: Iterable[Decision]) -> list[StoredEvent]:
    """The events of a batch in the order of ``decisions``."""
    return [event for decision in decisions for event in decision.events]


def note_positions(decisions: Iterable[Decision], first_position: int) -> None:
    """Note the positions that the log assigned, from ``first_position`` in the order of ``decisions``."""
    for decision in decisions:
        for key, offset in decision.recorded_as.items():
            decision.known_at[key] = first_position + offset
        first_position += len(decision.events)


def outcomes(decisions: Iterable[Decision], count: int) -> list[PingOutcome]:
    """One outcome per ping, in the order of the batch. Of repeats within the batch, the first is new."""
    found: dict[int, PingOutcome] = {}
    for decision in decisions:
        first_of = set(decision.recorded_as)
        for index, ping in decision.pings:
            rejection = decision.rejections.get(index)
            if rejection is not None:
                found[index] = PingOutcome(None, is_new=False, rejection=rejection)
                continue
            key = ping_key(ping)
            found[index] = PingOutcome(decision.known_at[key], is_new=key in first_of)
            first_of.discard(key)
    return [found[index] for index in range(count)]


class PositionedPing(NamedTuple):
    """An event of a batch: caused by the ``nth`` ping, at ``offset`` in its decision.

    ``received_ms`` is that ping's reception in epoch milliseconds. ``key`` is None for an event that is not a ping: the
    registration, which the rider's first ping causes.
    """

    nth: int
    offset: int
    decision: Decision
    received_ms: int
    key: PingKey | None

    @property
    def event(self) -> StoredEvent:
        return self.decision.events[self.offset]


def events_in_ping_order(decisions: Iterable[Decision]) -> list[PositionedPing]:
    """Every event of a decided batch, in the order of its pings."""
    positioned: list[PositionedPing] = []
    for decision in decisions:
        by_offset = {offset: key for key, offset in decision.recorded_as.items()}
        # Of repeats within the batch, the first is recorded.
        first = {ping_key(ping): (nth, ping) for nth, ping in reversed(decision.pings)}
        for offset in range(len(decision.events)):
            key = by_offset.get(offset)
            nth, ping = decision.pings[0] if key is None else first[key]
            positioned.append(PositionedPing(nth, offset, decision, ping.received_timestamp_ms, key))
    # A ping belongs to one rider, so nth and offset are unique and a decision is never compared.
    positioned.sort()
    return positioned


def note_positions_in_ping_order(positioned: Iterable[PositionedPing], first_position: int) -> None:
    """Note the positions that the log assigned, from ``first_position`` in the order of ``positioned``."""
    for position, each in enumerate(positioned, start=first_position):
        if each.key is not None:
            each.decision.known_at[each.key] = position
