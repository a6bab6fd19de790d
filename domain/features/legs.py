"""The open legs of a rider: where the rider is under way to, one leg for each order carried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from domain.features.event_time import effective_time_ms

MAX_OPEN_LEGS = 20
"""The bound of the aggregate too (``domain.riders.leg``): it bounds the state (invariant 15)."""

TO_RESTAURANT: Final = "to_restaurant"
TO_CUSTOMER: Final = "to_customer"
LEGS = (TO_RESTAURANT, TO_CUSTOMER)
"""The legs that are known. A leg of a later contract is not kept, since nothing is known of its target."""


class OpenLeg(NamedTuple):
    """A leg that was started and has not ended. The target in WGS84 degrees; the effective time in epoch ms."""

    order_id: str
    leg: str
    target_latitude: float
    target_longitude: float
    started_ms: int


OpenLegs = tuple[OpenLeg, ...]
"""In the order in which they were started, at most MAX_OPEN_LEGS."""


def with_started(legs: OpenLegs, data: Mapping[str, Any]) -> OpenLegs | None:
    """The legs after a LegStarted; pure. None: MAX_OPEN_LEGS others are open, so this one is not kept.

    The aggregate starts no leg twice and no 21st; a log with an event that cannot be read may have either. A leg that
    starts again replaces its first start.
    """
    order_id, leg = data["order_id"], data["leg"]
    if leg not in LEGS:
        return legs
    others = without(legs, order_id, leg)
    if len(others) >= MAX_OPEN_LEGS:
        return None
    # Adding 0.0 turns -0.0 into 0.0: the two are equal, and equal states must have equal bytes.
    latitude, longitude = data["target_latitude"] + 0.0, data["target_longitude"] + 0.0
    return (*others, OpenLeg(order_id, leg, latitude, longitude, effective_time_ms(data)))


def without(legs: OpenLegs, order_id: str, leg: str) -> OpenLegs:
    """The legs after the end of one of them; the same if that one is not open."""
    return tuple([one for one in legs if one.order_id != order_id or one.leg != leg])
