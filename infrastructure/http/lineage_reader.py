"""Follows causes and effects from a recorded event or command, in both directions. Each read is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from domain.events.contracts import UndecodableError
from domain.features.case_file import CaseFile
from domain.features.event_time import MAX_AHEAD_MS
from domain.features.payouts.ids import completed_id, uuid_text
from domain.identifiers import is_event_id
from infrastructure.event_store.event_links import NO_EVENTS, EventLinks
from infrastructure.event_store.event_pages import RecordedEvent, is_storable
from infrastructure.http.errors import ApiError
from infrastructure.http.event_json import EventEncoder
from infrastructure.http.fraud_reader import FraudReader
from infrastructure.http.lineage_answers import (
    CommandLineage,
    EtaLinks,
    EventLineage,
    EventLink,
    LegLink,
    PingChangeAnswer,
    RequestLink,
    WindowAnswer,
    alert_link,
    eta_item,
    event_link,
    payout_link,
)
from infrastructure.http.time_travel import past_error
from infrastructure.postgres.payout_reads import PayoutReads
from infrastructure.postgres.served_eta_links import MAX_LINKED_ETAS, ServedEtaLinks
from infrastructure.replay.ping_changes import PingChange, PingChanges, WindowThen
from projections.core.fold import Decode
from projections.replay.as_of import Unresolvable
from projections.replay.key_replay import TooLong

RIDER, DELIVERY = "Rider", "Delivery"
_END: Final = (1 << 63) - 1
"""Beyond every position."""


class LineageReads(NamedTuple):
    """What lineage is read from."""

    events: EventLinks
    changes: PingChanges
    alerts: FraudReader
    payouts: PayoutReads
    etas: ServedEtaLinks
    encoder: EventEncoder
    decode: Decode


class EventLineages:
    """Blocks: call it in a thread. Methods raise ApiError 404 and 503, PortUnavailable, SQLAlchemyError."""

    def __init__(self, reads: LineageReads) -> None:
        self._reads = reads

    def event(self, position: int) -> EventLineage:
        """The event at a position of the log."""
        return self._of(self._event_at(position))

    def found(self, stream: str, key: str, event_id: str, by_ms: int) -> EventLineage:
        """The event of a key with an id, among the latest up to an instant."""
        if not is_event_id(event_id):
            raise ApiError(404, "unknown_event", f"{event_id[:64]!r} is no event id: every event has a UUID")
        found = self._reads.events.by_id(stream, key, [event_id], by_ms)
        if not found:
            raise ApiError(404, "unknown_event", f"no event {event_id} is among the latest of this key up to then")
        return self._of(next(iter(found.values())))

    def command(self, command_id: str, order_id: str | None) -> CommandLineage:
        """The events of a command; with ``order_id``, of the order alone."""
        asked = command_id if order_id is None else command_id + order_id
        found = self._reads.events.of_command(command_id, DELIVERY, order_id) if is_storable(asked) else NO_EVENTS
        if not found.events:
            raise ApiError(404, "unknown_command", f"no event in the log names the command {command_id[:128]!r}")
        return CommandLineage(command_id, links(found.events), found.more)

    def _of(self, event: RecordedEvent) -> EventLineage:
        reads = self._reads
        neighbours = reads.events.neighbours(event)
        effects = [each for each in reads.events.effects(event.event_id).events if _is_effect(each, event)]
        is_rider = event.stream == RIDER
        makers = [event.position] if is_rider else [each.position for each in effects]
        rider_id = event.key if is_rider else next((each.key for each in effects if each.stream == RIDER), None)
        entries = [] if rider_id is None else reads.payouts.made_at(rider_id, makers)
        cited = reads.alerts.citing(event.key, event.event_id, event.position) if is_rider else []
        end = _END if neighbours.after is None else neighbours.after.position
        by_event = reads.etas.by_rider_event if is_rider else reads.etas.by_order_event
        etas = by_event(event.key, event.position, end)
        change, problem = self._change_of(event)
        return EventLineage(
            event=reads.encoder.described(event),
            before=link(neighbours.before),
            after=link(neighbours.after),
            request=self._request(event),
            cause=self._cause(event),
            effects=links(effects),
            alerts=[alert_link(row, _signals_of(case, event.event_id)) for row, case in cited],
            payouts=[payout_link(row) for row in entries],
            etas=EtaLinks([eta_item(eta) for eta in etas[:MAX_LINKED_ETAS]], len(etas) > MAX_LINKED_ETAS),
            change=None if change is None else self._change(change),
            change_problem=problem,
        )

    def _change_of(self, event: RecordedEvent) -> tuple[PingChange | None, str | None]:
        """What a ping changed, or why that cannot be computed: the links of an old ping are known without it."""
        if event.event_type != "GpsPing":
            return None, None
        try:
            return self._reads.changes.of(event.key, event.version, event.position), None
        except (Unresolvable, TooLong) as error:
            return None, past_error(error).detail

    def _event_at(self, position: int) -> RecordedEvent:
        found = self._reads.events.at([position]).get(position)
        if found is None:
            raise ApiError(
                404,
                "unknown_position",
                f"the log has no event at position {position:,}: it is not recorded or detached",
            )
        return found

    def _request(self, event: RecordedEvent) -> RequestLink:
        record = self._record(event)
        others = self._reads.events.of_same_command(event)
        received = record.get("received_timestamp_ms") or None
        has_key = bool(record.get("command_digest"))
        return RequestLink(event.command_id, has_key, received, record.get("source_service"), links(others))

    def _cause(self, event: RecordedEvent) -> EventLink | None:
        """The event that this one names as its cause: of its transaction, else of its order, or of its own rider for a
        first ping."""
        if event.caused_by is None:
            return None
        if event.command_id is not None:
            # A rider that an assignment registered has no order in its first event, but both are of one transaction.
            found = self._reads.events.near(event.position, event.caused_by)
            if found is not None:
                return link(found)
        order_id = self._record(event).get("order_id")
        stream, key = (RIDER, event.key) if order_id is None else (DELIVERY, order_id)
        # A cause is recorded with its effect. A phone's clock may be ahead of both of its times.
        by_ms = max(event.event_time_ms, event.recorded_at_ms) + MAX_AHEAD_MS
        return link(self._reads.events.by_id(stream, key, [event.caused_by], by_ms).get(event.caused_by))

    def _record(self, event: RecordedEvent) -> Mapping[str, Any]:
        try:
            return self._reads.decode(event.payload)
        except UndecodableError:
            return {}

    def _change(self, change: PingChange) -> PingChangeAnswer:
        ids = {(leg.order_id, leg.leg): uuid_text(completed_id(leg.order_id, leg.leg)) for leg in change.legs}
        rows = self._reads.payouts.entries(list(ids.values()))
        legs = [
            LegLink(
                leg.order_id,
                leg.leg,
                leg.started_ms,
                [payout_link(row) for row in rows if row["payout_id"] == ids[leg.order_id, leg.leg]],
            )
            for leg in change.legs
        ]
        return PingChangeAnswer(
            change.effective_ms,
            change.lateness_ms,
            change.verdict.value,
            change.reason,
            change.weight,
            _window(change.before),
            _window(change.after),
            legs,
        )


def link(event: RecordedEvent | None) -> EventLink | None:
    """The link to an event; None if there is none."""
    return None if event is None else event_link(event)


def links(events: Iterable[RecordedEvent]) -> list[EventLink]:
    return [event_link(event) for event in events]


def _is_effect(effect: RecordedEvent, cause: RecordedEvent) -> bool:
    """Whether the event that names the id of ``cause`` means it: a client may give a ping the id of another event."""
    if cause.command_id is not None:
        return effect.command_id == cause.command_id
    return (effect.stream, effect.key) == (cause.stream, cause.key)


def _signals_of(case: CaseFile, event_id: str) -> list[str]:
    """The names of the signals that have the event as evidence."""
    plain = event_id.replace("-", "")
    return [signal.name for signal in case.signals if plain in {one.replace("-", "") for one in signal.evidence}]


def _window(state: WindowThen | None) -> WindowAnswer | None:
    return None if state is None else WindowAnswer(*state)
