"""Checks that a log of riders and deliveries is a history that the contract allows. It knows no aggregate class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from infrastructure.event_store.aggregates import LogEvent

_AFTER = {
    "DeliveryAssigned": (("placed",), "assigned"),
    "DeliveryUnassigned": (("assigned",), "placed"),
    "DeliveryPickedUp": (("assigned",), "picked_up"),
    "DeliveryArrived": (("picked_up",), "arrived"),
    "DeliveryCompleted": (("picked_up", "arrived"), "completed"),
    "DeliveryCancelled": (("placed", "assigned", "picked_up", "arrived"), "cancelled"),
}
_OPEN_LEG = {"assigned": "to_restaurant", "picked_up": "to_customer", "arrived": "to_customer"}
_OUTCOME = {
    "DeliveryUnassigned": "unassigned",
    "DeliveryPickedUp": "completed",
    "DeliveryCompleted": "completed",
    "DeliveryCancelled": "cancelled",
}


class OrderFound:
    """An order as its events tell it."""

    def __init__(self) -> None:
        self.status = "placed"
        self.rider_id = ""
        self.commands: set[str] = set()
        self.etas: set[str] = set()
        self.version = 1
        """That of the last step."""
        self.times_ms: dict[str, int] = {}
        """When each status that still holds was reached."""


class HistoryFound(NamedTuple):
    """What the log leads to: orders by id, and the open legs (order, leg) of each rider."""

    orders: dict[str, OrderFound]
    legs: dict[str, set[tuple[str, str]]]


def check_history(log: Sequence[LogEvent], decode: Callable[[bytes], Mapping[str, Any]]) -> HistoryFound:
    """Check every event against those before it: versions, transitions, legs, causes and keys."""
    found = HistoryFound({}, {})
    versions: dict[Any, int] = {}
    due: list[tuple[str, str, str, str]] = []
    cause: LogEvent | None = None
    registered: set[str] = set()
    for event in log:
        data = decode(event.state)
        assert event.originator_version == versions.get(event.originator_id, 0) + 1, "a version is missing or double"
        versions[event.originator_id] = event.originator_version
        if event.aggregate_type == "Delivery":
            assert not due, "legs of the step before are missing"
            due, cause = _step(found, event, data), event
            continue
        if event.topic == "RiderRegistered":
            assert event.aggregate_key not in registered
            registered.add(event.aggregate_key)
        elif event.topic in {"LegStarted", "LegEnded"}:
            assert cause is not None
            assert (event.caused_by, event.command_id) == (cause.event_id, cause.command_id)
            assert (data["caused_by"], data["command_id"]) == (str(cause.event_id), cause.command_id)
            ended = data.get("outcome", "")
            assert due, "a leg that no step causes"
            assert due.pop(0) == (event.topic, event.aggregate_key, data["leg"], ended)
            assert data["order_id"] == cause.aggregate_key
            _leg(found, event.topic, event.aggregate_key, (data["order_id"], data["leg"]))
    assert not due, "legs of the last step are missing"
    return found


def _step(found: HistoryFound, event: LogEvent, data: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Apply a delivery's event. Returns the leg events that have to follow: type, rider, leg, outcome."""
    assert event.command_id
    assert event.caused_by is None
    if event.topic == "DeliveryPlaced":
        assert event.aggregate_key not in found.orders
        found.orders[event.aggregate_key] = OrderFound()
        found.orders[event.aggregate_key].commands.add(event.command_id)
        found.orders[event.aggregate_key].times_ms["placed"] = data["event_timestamp_ms"]
        return []
    order = found.orders[event.aggregate_key]
    assert event.command_id not in order.commands, "a command is recorded twice"
    order.commands.add(event.command_id)
    if event.topic == "EtaServed":
        assert data["leg"] not in order.etas, "a second ETA of one leg"
        order.etas.add(data["leg"])
        return []
    allowed, after = _AFTER[event.topic]
    assert order.status in allowed, f"{event.topic} while {order.status}"
    if event.topic == "DeliveryAssigned":
        order.rider_id = data["rider_id"]
    assert data["rider_id"] == order.rider_id
    ended, order.status = _OPEN_LEG.get(order.status), after
    rider_id = order.rider_id
    due = []
    if event.topic in _OUTCOME and ended is not None:
        due.append(("LegEnded", rider_id, ended, _OUTCOME[event.topic]))
    if event.topic in {"DeliveryAssigned", "DeliveryPickedUp"}:
        due.append(("LegStarted", rider_id, _OPEN_LEG[after], ""))
    order.version = event.originator_version
    if event.topic == "DeliveryUnassigned":
        order.rider_id = ""
        del order.times_ms["assigned"]
    else:
        order.times_ms[after] = data["event_timestamp_ms"]
    return due


def _leg(found: HistoryFound, topic: str, rider_id: str, leg: tuple[str, str]) -> None:
    legs = found.legs.setdefault(rider_id, set())
    if topic == "LegStarted":
        assert leg not in legs
        legs.add(leg)
        assert len(legs) <= 20
    else:
        legs.remove(leg)
