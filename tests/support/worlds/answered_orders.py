"""Random histories of orders whose ETAs were answered, for the calibration and all that reads it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.worlds.order_lives import OrderHistory, order_data, order_histories, placed_data, step_data
from tests.support.worlds.rider_events import START_MS

LEGS = ("unassigned", "to_restaurant", "at_restaurant", "to_customer", "at_customer")


def eta_data(order_id: str, t_ms: int, number: int = 0, **fields: Any) -> dict[str, Any]:
    """An EtaServed record: the model says 600 s and 900 s, and nothing was calibrated."""
    answer = {"leg": "to_customer", "p50_seconds": 600.0, "p90_seconds": 900.0, "model_digest": "m"}
    of_model = {"city_snapshot": None, "model_p50_seconds": 600.0, "model_p90_seconds": 900.0}
    return order_data(order_id, t_ms, number, **(answer | of_model | fields))


@st.composite
def answered_histories(draw: st.DrawFn) -> OrderHistory:
    """``order_histories`` with answers between the steps, and at times after the end; some legs are answered twice."""
    found: OrderHistory = []
    for number, (order, event_type, data) in enumerate(draw(order_histories())):
        if event_type == "DeliveryPlaced":
            data = data | {"city": draw(st.sampled_from(["Berlin", "Köln", ""]))}
        found.append((order, event_type, data))
        for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
            seconds = draw(st.integers(0, 2_000))
            fields: dict[str, Any] = {"leg": draw(st.sampled_from(LEGS)), "p50_seconds": float(seconds)}
            fields["p90_seconds"] = fields["p50_seconds"] + draw(st.sampled_from([0.0, 1.5, 900.0]))
            if draw(st.booleans()):
                fields |= {"model_p50_seconds": None, "model_p90_seconds": None}
            at_ms = data["event_timestamp_ms"] + draw(st.sampled_from([0, 1, 400_000]))
            found.append((order, "EtaServed", eta_data(order, at_ms, 1_000 + number, **fields)))
    return found


def completed_order(order: str, first_s: int, seconds: int, **fields: Any) -> OrderHistory:
    """An order with one answer, completed ``seconds`` after it; ``fields`` are those of the answer."""
    start_ms = START_MS + 1_000 * first_s
    steps = [
        (order, f"Delivery{name}", step_data(order, start_ms + n, n)) for n, name in enumerate(["Assigned", "PickedUp"])
    ]
    return [
        (order, "DeliveryPlaced", placed_data(order, start_ms)),
        *steps,
        (order, "EtaServed", eta_data(order, start_ms + 2, 7, **fields)),
        (order, "DeliveryCompleted", step_data(order, start_ms + 2 + 1_000 * seconds, 8)),
    ]
