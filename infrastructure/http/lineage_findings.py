"""Follows an alert, a payout or an adjustment back to the events that it rests on. Each read is bounded."""

from __future__ import annotations

from domain.features.payouts.ids import uuid_text
from infrastructure.event_store.event_pages import RecordedEvent
from infrastructure.http.errors import ApiError
from infrastructure.http.lineage_answers import (
    AlertLineage,
    EntryEvent,
    EntryLineage,
    EvidenceLink,
    alert_link,
    payout_link,
)
from infrastructure.http.lineage_reader import RIDER, LineageReads, link, links


class FindingLineages:
    """Blocks: call it in a thread. Methods raise ApiError 404 and 503, PortUnavailable, SQLAlchemyError."""

    def __init__(self, reads: LineageReads) -> None:
        self._reads = reads

    def alert(self, alert_id: str) -> AlertLineage:
        """An alert by its id, with the events that it names."""
        reads = self._reads
        row, case, reviews = reads.alerts.case(alert_id)
        review_places = [review["position"] for review in reviews]
        window_places = [fix.position for fix in case.window]
        at = reads.events.at({case.raised_position, case.position, *window_places, *review_places})
        by_id = {event.event_id: event for event in at.values()}
        named = [(signal.name, _dashed(one)) for signal in case.signals for one in signal.evidence]
        missing = {event_id for _, event_id in named} - by_id.keys()
        last = at.get(case.position)
        if missing and last is not None:
            by_id |= reads.events.by_id(RIDER, case.rider_id, missing, max(last.event_time_ms, last.recorded_at_ms))
        return AlertLineage(
            alert=alert_link(row, [signal.name for signal in case.signals]),
            order_id=case.order_id,
            raised_by=link(at.get(case.raised_position)),
            changed_by=link(last),
            evidence=[EvidenceLink(name, event_id, link(by_id.get(event_id))) for name, event_id in named],
            window=links(at[place] for place in sorted(window_places) if place in at),
            reviews=links(at[place] for place in review_places if place in at),
        )

    def entry(self, entry_id: str) -> EntryLineage:
        """A payout or an adjustment by its id."""
        reads = self._reads
        rows = reads.payouts.entries([entry_id])
        row = next((each for each in rows if each["entry_id"] == entry_id), None)
        if row is None:
            raise ApiError(404, "unknown_entry", f"there is no payout or adjustment {entry_id[:64]!r}")
        shown = payout_link(row)
        whole = rows if row["payout_id"] == entry_id else reads.payouts.entries([row["payout_id"]])
        made_by = reads.events.at([row["position"]]).get(row["position"])
        named = [
            (item["item"], place, item["events"][place])
            for item in shown["items"]
            for place in ("first", "last")
            if item["events"][place] is not None
        ]
        found: dict[str, RecordedEvent] = {}
        if made_by is not None:
            by_ms = max(made_by.event_time_ms, made_by.recorded_at_ms)
            found = reads.events.by_id(RIDER, row["rider_id"], {event_id for _, _, event_id in named}, by_ms)
        events = [EntryEvent(*each, link(found.get(each[2]))) for each in named]
        return EntryLineage(row["rider_id"], shown, link(made_by), events, [payout_link(each) for each in whole])


def _dashed(event_id: str) -> str:
    """An event id as the log writes it: some folds keep it without hyphens."""
    return uuid_text(bytes.fromhex(event_id)) if len(event_id) == 32 else event_id
