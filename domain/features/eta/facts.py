"""What an order says of itself, beside the features: inputs of a learned model, which the baseline does not use."""

from __future__ import annotations

from typing import NamedTuple

from domain.features.orders import OrderState


class OrderFacts(NamedTuple):
    """Facts of one order, each known when it was placed. None or empty: the order does not say it.

    ``promised_seconds`` start when the order was placed. ``promised_left_s`` is what is left of them at the instant
    of the answer; it is negative once the promise is broken. Places are (latitude, longitude) in WGS84 degrees.
    """

    promised_left_s: float | None = None
    promised_seconds: int | None = None
    items: int | None = None
    city: str = ""
    time_zone: str = ""
    restaurant: tuple[float, float] | None = None
    customer: tuple[float, float] | None = None


NO_FACTS = OrderFacts()


def order_facts(order: OrderState, now_ms: int) -> OrderFacts:
    """The facts of an order at ``now_ms``, the one clock reading of the answer; pure."""
    promised = order.promised_seconds
    left = None if promised is None else (order.placed_ms + 1_000 * promised - now_ms) / 1_000.0
    return OrderFacts(left, promised, order.items, order.city, order.time_zone, order.restaurant, order.customer)
