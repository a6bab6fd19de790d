"""Drops the content of dropped generations once their worker has stopped, and retries a drop that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from projections.core.ports import PortUnavailable, Sink, SinkRejected
from projections.core.projection import Projection
from projections.rebuild.generations import Generation


class PendingDrops:
    """Generations whose content must still be deleted.

    A rebuild deletes the content of a generation that it drops. A worker that did not know this yet may write after
    that, so the process of the worker deletes the content again once the worker has stopped. The list is in memory: a
    process that ends before it succeeds leaves that content in the store.
    """

    def __init__(self, sink_of: Callable[[Projection[Any], int], Sink]) -> None:
        self._sink_of = sink_of
        self._pending: dict[tuple[str, int], Projection[Any]] = {}

    def add(self, projection: Projection[Any], number: int) -> None:
        """Note a generation whose worker has stopped."""
        self._pending[projection.name, number] = projection

    def drop_all(self, existing: Mapping[str, Sequence[Generation]]) -> None:
        """Delete the content of all noted generations, and forget those that succeeded.

        ``existing``: the generations of each projection now. One of them is not deleted: a restored log assigns numbers
        a second time. An unavailable store delays its own generations only. Raises PortUnavailable or SinkRejected
        after all were tried, if one failed.
        """
        failed: PortUnavailable | SinkRejected | None = None
        for (name, number), projection in list(self._pending.items()):
            try:
                if all(generation.number != number for generation in existing.get(name, ())):
                    self._sink_of(projection, number).drop()
            except (PortUnavailable, SinkRejected) as error:
                failed = error
                continue
            del self._pending[name, number]
        if failed is not None:
            raise failed
