"""Lists and retries parked keys for the API, by the same operations as the command ``parked``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.backends import Backends
from infrastructure.errors import UserError
from infrastructure.http.errors import ApiError, unavailable
from infrastructure.http.parked import ParkedAnswer, ParkedItem, RetryAnswer, RetryItem
from infrastructure.operations.parked_keys import ParkedKeyDetails, parked_keys, retry
from projections.catalogue import PROJECTIONS
from projections.core.ports import FenceConflict, PortUnavailable, SinkRejected
from projections.core.projection import Projection
from projections.rebuild.generations import is_kept_up


class BackendsParkedDesk:
    """``http.parked.ParkedDesk`` over the read models. Blocks; safe to call in several threads."""

    def __init__(self, backends: Backends) -> None:
        # Opened here, by the thread that composes: members of the bundle are opened by one thread.
        backends.stores, backends.log, backends.generations, backends.decode  # noqa: B018
        self._backends = backends

    def all(self, projection: str | None, limit: int) -> ParkedAnswer:
        """Raises ApiError 404, 503."""
        wanted = list(PROJECTIONS.values()) if projection is None else [_named(projection)]
        items: list[ParkedItem] = []
        total = 0
        with _answered():
            for one in wanted:
                generations = {g.number: g for g in self._backends.generations.all(one.name)}
                for found in parked_keys(self._backends, one):
                    total += 1
                    if len(items) < limit:
                        generation = generations.get(found.generation)
                        served = generation is not None and generation.active
                        ours = generation is not None and is_kept_up(generation, one)
                        items.append(_item(found, served=served, retriable=ours))
        return ParkedAnswer(items, total)

    def retry(self, projection: str, key: str) -> RetryAnswer:
        """Raises ApiError 404, 409, 503."""
        with _answered():
            try:
                outcomes = retry(self._backends, _named(projection), key)
            except UserError as error:
                raise ApiError(404, "not_parked", f"{error}; GET /parked shows what is parked now") from error
            except FenceConflict as error:
                raise ApiError(409, "fence_conflict", f"{error}: another worker moved it; send it again") from error
        items = [
            RetryItem(number, one.verdict, one.events, None if one.parked is None else one.parked.reason)
            for number, one in sorted(outcomes.items())
        ]
        return RetryAnswer(projection, key, items)


def _item(found: ParkedKeyDetails, *, served: bool, retriable: bool) -> ParkedItem:
    mark = found.mark
    return ParkedItem(
        found.projection,
        found.generation,
        served,
        retriable,
        found.key,
        mark.position,
        mark.version,
        mark.event_type,
        mark.kind,
        mark.reason,
        mark.parked_at_ms,
    )


def _named(projection: str) -> Projection[object]:
    found = PROJECTIONS.get(projection)
    if found is None:
        raise ApiError(404, "unknown_projection", f"the projections are {', '.join(PROJECTIONS)}")
    return found


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (PortUnavailable, SinkRejected) as error:
        raise unavailable("parked_unavailable", f"{error}; send it again") from error
