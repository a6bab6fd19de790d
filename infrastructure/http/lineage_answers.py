"""What ``/lineage`` answers: an event, an alert, an entry of a payout or an ETA, with links to causes and effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from domain.timestamps import epoch_ms
from infrastructure.event_store.event_pages import RecordedEvent
from infrastructure.http.event_json import EventItem
from infrastructure.postgres.served_eta_links import EtaOnRecord
from read_models.payouts.statement import EntryRow, entry_answer


class EventLink(msgspec.Struct):
    """An event to follow: ``/lineage/events/{position}``. Times in epoch milliseconds."""

    position: int
    stream: str
    key: str
    version: int
    type: str
    event_id: str
    event_time_ms: int
    recorded_at_ms: int


class RequestLink(msgspec.Struct):
    """The request that an event came from, as far as its record says.

    ``command_id``: its Idempotency-Key, or a made id; null for a ping, which is its own command. ``events``: the others
    that the command recorded for the same rider or order.
    """

    command_id: str | None
    has_key: bool
    received_at_ms: int | None
    source_service: str | None
    events: list[EventLink]


class AlertLink(msgspec.Struct):
    """An alert that names an event: ``/lineage/alerts/{alert_id}``. ``signals``: those with the event as evidence."""

    alert_id: str
    kind: str
    rider_id: str
    status: str
    raised_at_ms: int
    raised_position: int
    signals: list[str]


class EtaItem(msgspec.Struct):
    """An answer on record: ``/lineage/etas/{id}``. ``hand_over_ms``: the instant that the median foresaw."""

    id: int
    order_id: str
    at_ms: int
    eta_seconds: int
    p50_seconds: float
    p90_seconds: float
    hand_over_ms: int
    because: list[str]
    leg: str
    model: str
    order_position: int
    rider_id: str | None
    rider_position: int | None
    city_snapshot: int | None
    verdict: str | None


class EtaItems(msgspec.Struct):
    """A page of answers along an order's life. ``next``: the cursor of the next page, null on the last one."""

    items: list[EtaItem]
    next: str | None


class EtaLinks(msgspec.Struct):
    """Answers that had an event as the last one of their order or rider. ``more``: there are others."""

    items: list[EtaItem]
    more: bool


class WindowAnswer(msgspec.Struct):
    """A rider's window after an event: speeds in m/s, and its pings with their weights or reasons of rejection."""

    speed_mps: float | None
    path_speed_mps: float | None
    pings: list[dict[str, Any]]


class LegLink(msgspec.Struct):
    """A leg that was open when a ping was folded. ``entries``: its payout and adjustments, none before it ends."""

    order_id: str
    leg: str
    started_at_ms: int
    entries: list[dict[str, Any]]


class PingChangeAnswer(msgspec.Struct):
    """What a ping changed. ``verdict``: accepted, rejected (with ``reason``), too_late or not_folded.

    ``lateness_ms``: reception less the time as sent. ``weight``: the ping's share in the speed after it, 0 to 1.
    """

    effective_at_ms: int
    lateness_ms: int | None
    verdict: str
    reason: str | None
    weight: float
    before: WindowAnswer | None
    after: WindowAnswer | None
    legs: list[LegLink]


class EventLineage(msgspec.Struct):
    """An event with its causes and effects. ``payouts``: the entries that it, or an event that it caused, made.

    ``change``: what a ping changed; null for other events, and for one that cannot be decoded. ``change_problem``: why
    it cannot be computed, and what to do; else null.
    """

    event: EventItem
    before: EventLink | None
    after: EventLink | None
    request: RequestLink
    cause: EventLink | None
    effects: list[EventLink]
    alerts: list[AlertLink]
    payouts: list[dict[str, Any]]
    etas: EtaLinks
    change: PingChangeAnswer | None
    change_problem: str | None = None


class CommandLineage(msgspec.Struct):
    """The events that one command, or all commands under one Idempotency-Key, recorded; ``more``: there are others."""

    command_id: str
    items: list[EventLink]
    more: bool


class EvidenceLink(msgspec.Struct):
    """An event that an alert names. ``event`` is null if it is not among those that were searched."""

    signal: str
    event_id: str
    event: EventLink | None


class AlertLineage(msgspec.Struct):
    """An alert with the events that raised and changed it, its evidence, its window and its reviews."""

    alert: AlertLink
    order_id: str | None
    raised_by: EventLink | None
    changed_by: EventLink | None
    evidence: list[EvidenceLink]
    window: list[EventLink]
    reviews: list[EventLink]


class EntryEvent(msgspec.Struct):
    """An event that an item of an entry names, as its first or last. ``event``: null if it was not found."""

    item: str
    place: str
    event_id: str
    event: EventLink | None


class EntryLineage(msgspec.Struct):
    """A payout or an adjustment with the event that made it, those that its items name, and the whole payout."""

    rider_id: str
    entry: dict[str, Any]
    made_by: EventLink | None
    events: list[EntryEvent]
    payout: list[dict[str, Any]]


class FeatureChange(msgspec.Struct):
    """A value of the model that differs between two answers; null = unknown."""

    feature: str
    before: Any
    after: Any


class EtaLineage(msgspec.Struct):
    """An answer on record, the one before it, and what differs between the two.

    ``moved_seconds``: by how much the foreseen hand-over moved, null for the first answer. ``order_events``: those of
    the order between the two. ``rider_events``: how many of the rider's events are between them, null without a rider
    in both. ``city_changed`` and ``model_changed`` likewise.
    """

    eta: EtaItem
    features: dict[str, Any]
    order_event: EventLink | None
    rider_event: EventLink | None
    previous: EtaItem | None
    moved_seconds: float | None
    changes: list[FeatureChange]
    order_events: list[EventLink]
    rider_events: int | None
    city_changed: bool
    model_changed: bool


def event_link(event: RecordedEvent) -> EventLink:
    return EventLink(
        event.position,
        event.stream,
        event.key,
        event.version,
        event.event_type,
        event.event_id,
        event.event_time_ms,
        event.recorded_at_ms,
    )


def eta_item(eta: EtaOnRecord) -> EtaItem:
    """An answer on record, with what its body says."""
    body = msgspec.json.decode(eta.body)
    return EtaItem(
        eta.id,
        eta.order_id,
        eta.at_ms,
        body["eta_seconds"],
        body["p50_seconds"],
        body["p90_seconds"],
        eta.at_ms + round(body["p50_seconds"] * 1000),
        body["because"],
        body["features"]["leg"],
        body["model"]["name"],
        eta.order_position,
        eta.rider_id,
        eta.rider_position,
        eta.city_snapshot,
        eta.verdict,
    )


def payout_link(row: EntryRow) -> dict[str, Any]:
    """An entry of a payout with its rider, as ``/payouts`` answers entries."""
    return {"rider_id": row["rider_id"], **entry_answer(row)}


def alert_link(row: Mapping[str, Any], signals: Sequence[str]) -> AlertLink:
    """The link to an alert from its row, with those of its signals that are of interest."""
    return AlertLink(
        row["alert_id"],
        row["projection"],
        row["rider_id"],
        row["status"],
        epoch_ms(row["raised_at"]),
        row["raised_position"],
        list(signals),
    )
