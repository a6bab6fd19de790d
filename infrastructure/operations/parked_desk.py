"""Lists and retries parked keys for the API, by the same operations as the command ``parked``."""

from __future__ import annotations

from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.http.errors import ApiError, unavailable_as
from infrastructure.http.parked import ParkedItem, ParkedPage, ParkedPlace, RetryAnswer, RetryItem, parked_cursor
from infrastructure.http.projection_answers import catalogued
from infrastructure.operations.parked_keys import retry
from projections.catalogue import PROJECTIONS
from projections.core.ports import FenceConflict, ParkedEvent
from projections.rebuild.generations import Generation, is_kept_up


class BackendsParkedDesk:
    """``http.parked.ParkedDesk`` over the read models. Blocks; safe to call in several threads."""

    def __init__(self, backends: Backends) -> None:
        # Opened here, by the thread that composes: members of the bundle are opened by one thread.
        backends.stores, backends.log, backends.generations, backends.decode  # noqa: B018
        self._backends = backends

    def page(self, projection: str | None, limit: int, after: ParkedPlace | None) -> ParkedPage:
        """At most ``limit`` keys after a place. No more than one key more is read. Raises ApiError 404, 503."""
        wanted = list(PROJECTIONS.values()) if projection is None else [catalogued(projection)]
        order = list(PROJECTIONS)
        start = (-1, -1) if after is None else (_index(order, after.projection), after.generation)
        items: list[ParkedItem] = []
        total = 0
        with unavailable_as("parked_unavailable"):
            generations = self._backends.generations.all_by_projection()
            for one in wanted:
                for generation in generations.get(one.name, []):
                    sink = self._backends.stores.sink(one, generation.number)
                    count = sink.count_parked()
                    total += count
                    here = (order.index(one.name), generation.number)
                    if count and here >= start and len(items) <= limit:
                        key = after.key if after is not None and here == start else None
                        found = sink.page_parked(key, limit + 1 - len(items))
                        ours = is_kept_up(generation, one)
                        items += [_item(generation, *each, retriable=ours) for each in found]
        last = items[limit - 1] if len(items) > limit else None
        following = None if last is None else parked_cursor(ParkedPlace(last.projection, last.generation, last.key))
        return ParkedPage(items[:limit], following, total)

    def retry(self, projection: str, key: str) -> RetryAnswer:
        """Raises ApiError 404, 409, 503."""
        with unavailable_as("parked_unavailable"):
            try:
                outcomes = retry(self._backends, catalogued(projection), key)
            except UserError as error:
                raise ApiError(404, "not_parked", f"{error}; GET /parked shows what is parked now") from error
            except FenceConflict as error:
                raise ApiError(409, "fence_conflict", f"{error}: another worker moved it; send it again") from error
        items = [
            RetryItem(number, one.verdict, one.events, None if one.parked is None else one.parked.reason)
            for number, one in sorted(outcomes.items())
        ]
        return RetryAnswer(projection, key, items)


def _item(generation: Generation, key: str, event: ParkedEvent, *, retriable: bool) -> ParkedItem:
    return ParkedItem(
        generation.projection,
        generation.number,
        generation.active,
        retriable,
        key,
        event.position,
        event.version,
        event.event_type,
        event.kind,
        event.reason,
        event.parked_at_ms,
    )


def _index(order: list[str], projection: str) -> int:
    """Its place in the list. A cursor of older code may name a projection that there is no more."""
    return order.index(projection) if projection in order else len(order)
