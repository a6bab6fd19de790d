"""The polling relay: from the table by position, for databases without logical replication.

Nothing is lost by reading behind the last position: positions are contiguous and in commit order (invariant 1), so no
event turns up later below one that was read.
"""

from __future__ import annotations

from collections.abc import Callable

from infrastructure.cdc.events_table import Events, pass_on
from infrastructure.cdc.keeper import Keeper
from infrastructure.cdc.outflow import Outflow

TO_THE_END = 2**63 - 1
POLL_EVERY_S = 0.05


class Poller:
    """Drive it with ``step``. Any exception means: throw it away and start again from the mark."""

    def __init__(self, out: Outflow, events: Events, keeper: Keeper, pause: Callable[[float], object]) -> None:
        """``pause`` waits for so many seconds, or less when there is a reason."""
        self.out = out
        self._events = events
        self._keeper = keeper
        self._pause = pause
        self._last = out.progress.position or 0

    def step(self, timeout_s: float) -> int:
        """Read, publish, collect acknowledgements, store the mark; the number of events read.

        Raises PublishError, AnotherLog or SQLAlchemyError.
        """
        before = self._last
        moved = self.out.publish()
        if self.out.has_room():
            self._last = pass_on(self._events, self.out, before, TO_THE_END)
            moved = self.out.publish() or moved
        self.out.collect()
        self._keeper.keep(self.out.progress.position, 0)
        if self._last == before and not moved:
            self._pause(min(timeout_s, 0.005 if self.out.unreported() else POLL_EVERY_S))
        return self._last - before
