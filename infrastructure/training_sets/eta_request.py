"""What a training set is made from, resolved on one log: the rule of its instants, the axis and the last position.

Each axis has a clock. It numbers events and instants alike, and an event counts for a row if its number is not higher:

- ``known``: the time of recording. The row is what a service would have known at that time.
- ``position``: the position of the log. The clock reading of a row is the time at which that position was recorded.
- ``event``: the effective time. The row is what had happened by then, whenever it was recorded: for histories that
  were imported, where every event was recorded long after.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from domain.features.orders import ARRIVED, ASSIGNED, PICKED_UP, PLACED
from infrastructure.training_sets.eta_set import EtaRule
from projections.replay.archive import TimedEvent
from projections.replay.as_of import Axis, Horizon

SERVED, EVERY, AT_EVENTS, INSTANTS = "served", "every", "at_events", "instants"
"""The kinds of a rule."""

STEP_TYPES: Final = {
    PLACED: "DeliveryPlaced",
    ASSIGNED: "DeliveryAssigned",
    "unassigned": "DeliveryUnassigned",
    PICKED_UP: "DeliveryPickedUp",
    ARRIVED: "DeliveryArrived",
}
"""The steps after which an order has an ETA, by the name in ``--at-events``."""

MAX_LIFE_MS: Final = 86_400_000
"""An order that stays open has no rows of ``--every`` later than a day after its placement: a forgotten order would
otherwise have more rows than all others."""


class EtaRequest(msgspec.Struct, frozen=True):
    """A rule on one log. ``position``: last position that counts. ``last_ms``: no instant is later, epoch ms.

    ``axis`` is known for served answers, whose rows name their own positions.
    """

    rule: EtaRule
    axis: Axis
    log_id: str
    position: int
    last_ms: int

    def clock(self, timed: TimedEvent, effective_ms: int) -> int:
        """The number of an event on the clock of the axis."""
        if self.axis == "position":
            return timed.event.position
        return timed.recorded_ms if self.axis == "known" else effective_ms

    def horizon(self, position: int, at_ms: int) -> Horizon:
        """The horizon of a row."""
        happened_by_ms = at_ms if self.axis == "event" else None
        return Horizon(UUID(self.log_id), self.axis, position, happened_by_ms, at_ms)
