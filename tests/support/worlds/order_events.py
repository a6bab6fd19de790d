"""Random histories of orders' streams, for properties that must hold for every projection of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import strategies as st

ORDERS = tuple(f"order-{number}" for number in range(6))
START_MS = 1_790_000_000_000
STEPS = (
    "DeliveryAssigned",
    "DeliveryUnassigned",
    "DeliveryPickedUp",
    "DeliveryArrived",
    "DeliveryCompleted",
    "DeliveryCancelled",
)

Event = tuple[str, str, dict[str, Any]]
"""(key, event type, record)."""


def _record(order: str, second: int, own: dict[str, Any]) -> dict[str, Any]:
    t_ms = START_MS + second * 1_000
    return {
        "order_id": order,
        "event_timestamp_ms": t_ms,
        "event_id": str(UUID(int=second)),
        **own,
        "received_timestamp_ms": t_ms + 500,
        "source_service": "test",
        "command_id": f"command-{second}",
        "command_digest": "",
        "caused_by": "",
    }


def placed(order: str, second: int, **own: Any) -> Event:
    fields = {
        "restaurant_latitude": 52.5,
        "restaurant_longitude": 13.4,
        "customer_latitude": 52.52,
        "customer_longitude": 13.41,
        "city": "Berlin",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "preparation_seconds": None,
        "promised_seconds": None,
        "items": None,
    }
    return order, "DeliveryPlaced", _record(order, second, fields | own)


def step(order: str, event_type: str, second: int, rider: str = "anna") -> Event:
    if event_type == "EtaServed":
        return eta(order, second)
    own: dict[str, Any] = {"rider_id": rider}
    if event_type in {"DeliveryUnassigned", "DeliveryCancelled"}:
        own["reason"] = None
    return order, event_type, _record(order, second, own | {"out_of_order": False})


def eta(order: str, second: int, **own: Any) -> Event:
    """The first ETA of a leg, in any order: events of another leg may be recorded before those of an earlier one."""
    fields = {"leg": "to_customer", "p50_seconds": 600.125, "p90_seconds": 900.5, "model_digest": "m"}
    return order, "EtaServed", _record(order, second, fields | _UNCALIBRATED | own)


_UNCALIBRATED = {"city_snapshot": None, "model_p50_seconds": None, "model_p90_seconds": None}

_seconds = st.integers(0, 10_000)
_counts = st.none() | st.integers(0, 1 << 40)
_first = st.fixed_dictionaries(
    {
        "restaurant_latitude": st.floats(-90, 90),
        "customer_longitude": st.floats(-180, 180),
        "city": st.sampled_from(["", "Berlin", "São Paulo", "東京"]),
        "preparation_seconds": _counts,
        "promised_seconds": _counts,
        "items": _counts,
    }
)
_quantiles = st.tuples(st.integers(0, 4_000_000), st.integers(0, 4_000_000)).map(
    lambda ms: (min(ms) / 1_000, max(ms) / 1_000)
)
_later = st.tuples(st.sampled_from([*STEPS, "EtaServed"]), _seconds, st.sampled_from(["anna", "ben", "ćiro"]))


@st.composite
def _of_order(draw: st.DrawFn, order: str) -> list[Event]:
    """An order is placed first; the fold takes whatever the aggregate may come to allow afterwards."""
    events = [placed(order, draw(_seconds), **draw(_first))]
    later = [step(order, kind, second, rider) for kind, second, rider in draw(st.lists(_later, max_size=12))]
    quantiles = [draw(_quantiles) for _, kind, _ in later if kind == "EtaServed"]
    for _, kind, data in later:
        if kind == "EtaServed":
            data["p50_seconds"], data["p90_seconds"] = quantiles.pop()
    return events + later


@st.composite
def order_histories(draw: st.DrawFn) -> list[Event]:
    """Events of several orders in the order of the log: of each order in its own order, else in any."""
    of_orders = {order: draw(_of_order(order)) for order in draw(st.sets(st.sampled_from(ORDERS), min_size=1))}
    turns = draw(st.permutations([order for order, events in of_orders.items() for _ in events]))
    found = {order: iter(events) for order, events in of_orders.items()}
    return [next(found[order]) for order in turns]
