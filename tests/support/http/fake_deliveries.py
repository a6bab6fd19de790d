"""The commands on deliveries as the HTTP contract has them, in memory: what a client may rely on."""

from __future__ import annotations

from typing import Any, NamedTuple

ALLOWED = {
    "assign": {"placed"},
    "unassign": {"assigned"},
    "pickup": {"assigned"},
    "arrive": {"picked_up"},
    "complete": {"picked_up", "arrived"},
    "cancel": {"placed", "assigned", "picked_up", "arrived"},
}
AFTER = {
    "assign": "assigned",
    "unassign": "placed",
    "pickup": "picked_up",
    "arrive": "arrived",
    "complete": "completed",
    "cancel": "cancelled",
}
MAX_LEGS = 20


class Answered(NamedTuple):
    """Status and body of an answer."""

    status: int
    body: dict[str, Any]


class FakeDelivery:
    """One order."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.status = "placed"
        self.rider_id: str | None = None
        self.keys: dict[str, tuple[str, dict[str, Any]]] = {}
        self.steps: list[tuple[str, dict[str, Any]]] = []

    def answer(self, *, recorded: bool) -> dict[str, Any]:
        shown = {"order_id": self.body["order_id"], "status": self.status, "rider_id": self.rider_id}
        return {**shown, "recorded": recorded, "position": 1}


class FakeDeliveries:
    """All orders by id. ``most_legs``: the most open legs that any rider had."""

    def __init__(self) -> None:
        self.orders: dict[str, FakeDelivery] = {}
        self.most_legs = 0

    def place(self, body: dict[str, Any], key: str | None) -> Answered:
        known = self.orders.get(body["order_id"])
        if known is None:
            order = self.orders[body["order_id"]] = FakeDelivery(body)
            order.keys[key or ""] = ("place", body)
            return Answered(201, order.answer(recorded=True))
        if all(known.body.get(name) == value for name, value in body.items()):
            return Answered(200, known.answer(recorded=False))
        return _refused(409, "delivery_exists")

    def step(self, order_id: str, verb: str, body: dict[str, Any], key: str | None) -> Answered:
        order = self.orders.get(order_id)
        if order is None:
            return _refused(404, "unknown_delivery")
        if key is not None and key in order.keys:
            if order.keys[key] != (verb, body):
                return _refused(409, "idempotency_conflict")
            return Answered(200, order.answer(recorded=False))
        if verb == "assign" and order.status == "assigned" and order.rider_id != body["rider_id"]:
            return _refused(409, "other_rider")
        if order.status not in ALLOWED[verb]:
            return _refused(409, "wrong_status", f"the delivery is {order.status}: it does not accept {verb}")
        if verb == "assign" and self.legs(body["rider_id"]) >= MAX_LEGS:
            return _refused(409, "too_many_legs")
        order.status = AFTER[verb]
        order.rider_id = {"assign": body.get("rider_id"), "unassign": None}.get(verb, order.rider_id)
        order.steps.append((verb, body))
        if key is not None:
            order.keys[key] = (verb, body)
        if order.rider_id is not None:
            self.most_legs = max(self.most_legs, self.legs(order.rider_id))
        return Answered(200, order.answer(recorded=True))

    def legs(self, rider_id: str) -> int:
        """The rider's open legs."""
        return sum(
            order.rider_id == rider_id and order.status in {"assigned", "picked_up", "arrived"}
            for order in self.orders.values()
        )


def _refused(status: int, code: str, detail: str = "") -> Answered:
    return Answered(status, {"code": code, "detail": detail or code})
