"""Served ETAs on record: those along an order's life, and what differs between an answer and the one before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from infrastructure.event_store.event_links import MAX_LINKED_EVENTS, EventLinks
from infrastructure.event_store.event_pages import RecordedEvent, is_storable
from infrastructure.http.errors import ApiError
from infrastructure.http.lineage_answers import EtaItems, EtaLineage, EventLink, FeatureChange, eta_item
from infrastructure.http.lineage_reader import link, links
from infrastructure.http.paging import encode_keyset
from infrastructure.postgres.served_eta_links import FIRST, EtaOnRecord, EtaPlaceInOrder, ServedEtaLinks

ETA_ORDER: Final = "order_position/eta_id"


class EtaLineages:
    """Blocks: call it in a thread. Methods raise ApiError 404, PortUnavailable."""

    def __init__(self, events: EventLinks, etas: ServedEtaLinks) -> None:
        self._events = events
        self._etas = etas

    def eta(self, eta_id: int) -> EtaLineage:
        """An answer on record against the one before it of the same order."""
        eta = self._etas.one(eta_id)
        if eta is None:
            raise ApiError(404, "unknown_eta", "no answer with this id is on record: only the newest are kept")
        before = self._etas.before(eta)
        places = {eta.order_position, eta.rider_position, before.rider_position if before else None} - {None}
        at = self._events.at({place for place in places if place is not None})
        order_event = at.get(eta.order_position)
        rider_event = None if eta.rider_position is None else at.get(eta.rider_position)
        earlier = None if before is None or before.rider_position is None else at.get(before.rider_position)
        same_rider = rider_event is not None and earlier is not None and rider_event.key == earlier.key
        item, previous = eta_item(eta), None if before is None else eta_item(before)
        features = msgspec.json.decode(eta.body)["features"]
        return EtaLineage(
            eta=item,
            features=features,
            order_event=link(order_event),
            rider_event=link(rider_event),
            previous=previous,
            moved_seconds=None if previous is None else (item.hand_over_ms - previous.hand_over_ms) / 1000,
            changes=[] if before is None else _changes(msgspec.json.decode(before.body)["features"], features),
            order_events=self._order_events(order_event, before),
            rider_events=rider_event.version - earlier.version if same_rider and rider_event and earlier else None,
            city_changed=before is not None and before.city_snapshot != eta.city_snapshot,
            model_changed=before is not None and before.model_digest != eta.model_digest,
        )

    def etas(self, order_id: str, after: EtaPlaceInOrder | None, limit: int) -> EtaItems:
        """The answers of an order on record, along its life, from the one after ``after``."""
        found = self._etas.of_order(order_id, after or FIRST, limit + 1) if is_storable(order_id) else []
        items = [eta_item(eta) for eta in found[:limit]]
        if len(found) <= limit:
            return EtaItems(items, None)
        last = items[-1]
        return EtaItems(items, encode_keyset(last.order_position, str(last.id), ETA_ORDER))

    def _order_events(self, last: RecordedEvent | None, before: EtaOnRecord | None) -> list[EventLink]:
        """The events of the order after the earlier answer, up to ``last``."""
        if last is None or before is None or last.position == before.order_position:
            return []
        found = self._events.upto(last, MAX_LINKED_EVENTS)
        return links(each for each in found if each.position > before.order_position)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FeatureChange]:
    """The features that differ, in the order of the answer."""
    return [FeatureChange(name, before.get(name), value) for name, value in after.items() if before.get(name) != value]
