"""Random histories of orders as the domain allows them, for projections of the stream Delivery."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tests.support.worlds.rider_events import START_MS

ORDERS = tuple(f"order-{number}" for number in range(8))
NEXT_STEPS = {
    "": ["Placed"],
    "Placed": ["Assigned", "Assigned", "Cancelled"],
    "Assigned": ["Unassigned", "PickedUp", "PickedUp", "Cancelled"],
    "Unassigned": ["Assigned", "Cancelled"],
    "PickedUp": ["Arrived", "Completed", "Completed", "Cancelled"],
    "Arrived": ["Completed", "Cancelled"],
}
"""The last step of an order -> the steps that it allows; absent: the order is over."""

OrderHistory = list[tuple[str, str, dict[str, Any]]]


def order_data(order_id: str, t_ms: int, number: int, **fields: Any) -> dict[str, Any]:
    """What every record of the stream has, and ``fields``."""
    return {
        "order_id": order_id,
        "event_timestamp_ms": t_ms,
        "event_id": str(UUID(int=number)),
        **fields,
        "received_timestamp_ms": t_ms,
        "source_service": "test",
        "command_id": "",
        "command_digest": "",
        "caused_by": "",
    }


def placed_data(order_id: str, t_ms: int, number: int = 0, **fields: Any) -> dict[str, Any]:
    """A DeliveryPlaced record, of a restaurant in Berlin."""
    order = {
        "restaurant_latitude": 52.52,
        "restaurant_longitude": 13.4,
        "customer_latitude": 52.53,
        "customer_longitude": 13.41,
        "city": "Berlin",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "preparation_seconds": 600,
        "promised_seconds": 1_800,
        "items": 2,
    }
    return order_data(order_id, t_ms, number, **(order | fields))


def step_data(order_id: str, t_ms: int, number: int = 0, **fields: Any) -> dict[str, Any]:
    """The record of a later step."""
    return order_data(order_id, t_ms, number, **({"rider_id": "anna", "out_of_order": False} | fields))


_amounts = st.one_of(st.none(), st.integers(0, 4_000))
# Two restaurants share a cell, a third is elsewhere.
_restaurants = st.sampled_from([(52.52, 13.4), (52.5201, 13.4), (52.6, -0.0)])


@st.composite
def order_histories(draw: st.DrawFn) -> OrderHistory:
    """Orders of some hours, interleaved; at times a step has an earlier time than the one before it."""
    last = dict.fromkeys(ORDERS, "")
    now_s, found = 0, []
    for number in range(draw(st.integers(1, 60))):
        going_on = [order for order in ORDERS if last[order] in NEXT_STEPS]
        if not going_on:
            break
        order = draw(st.sampled_from(going_on))
        step = draw(st.sampled_from(NEXT_STEPS[last[order]]))
        now_s += draw(st.sampled_from([0, 7, 240, 900, 4_000]))
        t_ms = START_MS + (now_s - draw(st.sampled_from([0, 0, 0, 30, 6_000]))) * 1_000
        if step == "Placed":
            latitude, longitude = draw(_restaurants)
            fields = {"restaurant_latitude": latitude, "restaurant_longitude": longitude}
            data = placed_data(order, t_ms, number, **fields, promised_seconds=draw(_amounts), items=draw(_amounts))
        else:
            data = step_data(order, t_ms, number, rider_id=draw(st.sampled_from(["anna", "ü ben"])))
        last[order] = step
        found.append((order, f"Delivery{step}", data))
    return found
