"""Decides a batch of history: pings and commands on deliveries, one by one in the order of their reception. Pure.

A live batch is decided aggregate by aggregate. In history, the order in the log is the order of reception across all
aggregates, so what was known at an instant is a position, as it is live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol

from domain.deliveries.commands import DeliveryCommand
from domain.deliveries.decide import decide, rider_of
from domain.deliveries.delivery import Delivery
from domain.deliveries.recorded_keys import RecordedKeys
from domain.errors import DomainError
from domain.gps_ping import GpsPing
from domain.riders.ping_batch import registered_by
from domain.riders.rider import PingKey, Rider

HistoryItem = GpsPing | DeliveryCommand


class HistoryEvent(NamedTuple):
    """An event of a batch, and when its ping or command was received (epoch milliseconds)."""

    event: DomainEventProtocol[UUID]
    received_ms: int


class HistoryOutcome(NamedTuple):
    """The result for one item: it is new, a repeat (both without ``rejection``), or rejected."""

    is_new: bool
    rejection: DomainError | None = None


@dataclass
class HistoryBatch:
    """The aggregates of a batch by id, absent if they have no event; and what was decided on them."""

    riders: dict[str, Rider]
    deliveries: dict[str, Delivery]
    events: list[HistoryEvent] = field(default_factory=list)
    outcomes: list[HistoryOutcome] = field(default_factory=list)
    keys: RecordedKeys = field(default_factory=RecordedKeys)


def received_ms(item: HistoryItem) -> int:
    """When the item was received, in epoch milliseconds."""
    return item.received_timestamp_ms if isinstance(item, GpsPing) else item.received_ms


def decide_history(
    items: Sequence[HistoryItem], batch: HistoryBatch, recorded: Mapping[str, Mapping[PingKey, GpsPing | None]]
) -> None:
    """Decide ``items`` in their order; add events and outcomes to ``batch``.

    ``recorded`` has, by rider, the recorded pings as ``Rider.record_ping`` wants them. Nothing is raised: a rejected
    item changes nothing, and its outcome names the error.
    """
    known = {rider_id: dict(pings) for rider_id, pings in recorded.items()}
    for item in items:
        try:
            if isinstance(item, GpsPing):
                is_new = _decide_ping(item, batch, known.setdefault(item.rider_id, {}))
            else:
                is_new = _decide_command(item, batch)
        except DomainError as error:
            batch.outcomes.append(HistoryOutcome(is_new=False, rejection=error))
        else:
            batch.outcomes.append(HistoryOutcome(is_new))


def _decide_ping(ping: GpsPing, batch: HistoryBatch, known: dict[PingKey, GpsPing | None]) -> bool:
    rider = batch.riders.get(ping.rider_id)
    if rider is None:
        rider = registered_by(ping)
    is_new = rider.record_ping(ping, known)
    if is_new:
        known[ping.event_timestamp_ms, ping.event_id] = ping
    batch.riders[ping.rider_id] = rider
    _collect(rider, ping.received_timestamp_ms, batch)
    return is_new


def _decide_command(command: DeliveryCommand, batch: HistoryBatch) -> bool:
    command.check()
    delivery = batch.deliveries.get(command.order_id)
    rider = batch.riders.get(rider_of(command, delivery) or "")
    decided = decide(command, delivery, rider, batch.keys.digest(command))
    if decided.recorded:
        batch.keys.note(command)
    batch.deliveries[command.order_id] = decided.delivery
    # The delivery's event comes first: it is the cause of those of the rider.
    _collect(decided.delivery, command.received_ms, batch)
    if decided.rider is not None:
        batch.riders[decided.rider.rider_id] = decided.rider
        _collect(decided.rider, command.received_ms, batch)
    return decided.recorded


def _collect(aggregate: Rider | Delivery, at_ms: int, batch: HistoryBatch) -> None:
    pending, aggregate._pending_events = aggregate._pending_events, []
    batch.events.extend(HistoryEvent(event, at_ms) for event in pending)
