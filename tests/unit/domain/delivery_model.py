"""A small model of deliveries in the words of the contract: it predicts the outcome of every command."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Self

from domain.deliveries.commands import DeliveryCommand, PlaceOrder, RecordEta
from domain.errors import (
    DeliveryExists,
    DomainError,
    IdempotencyConflict,
    OtherRider,
    TooManyLegs,
    UnknownDelivery,
    WrongStatus,
)

Outcome = bool | type[DomainError]
"""True: recorded. False: a repeat. Else why it is rejected."""

LEG_OF = {"assigned": "to_restaurant", "picked_up": "to_customer", "arrived": "to_customer"}
NEXT = {
    ("placed", "assign"): "assigned",
    ("assigned", "unassign"): "placed",
    ("assigned", "pickup"): "picked_up",
    ("picked_up", "arrive"): "arrived",
    ("picked_up", "complete"): "completed",
    ("arrived", "complete"): "completed",
    **{(status, "cancel"): "cancelled" for status in ("placed", "assigned", "picked_up", "arrived")},
}


class OrderModel:
    """What is known of one order."""

    def __init__(self, placed: PlaceOrder) -> None:
        self.status = "placed"
        self.rider: str | None = None
        self.items = placed.items
        self.holds: dict[str, tuple[int, str | None]] = {}
        """Time and argument of each transition that still holds."""
        self.keys: dict[str, tuple[Any, ...]] = {}
        self.etas: set[str] = set()


class DeliveryModel:
    """All orders. ``expected`` predicts, ``note`` records."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderModel] = {}

    def copy(self) -> Self:
        return deepcopy(self)

    def expected(self, command: DeliveryCommand) -> Outcome:
        known = self.orders.get(command.order_id)
        if known is None:
            return True if isinstance(command, PlaceOrder) else UnknownDelivery
        if command.command_id in known.keys:
            return False if known.keys[command.command_id] == _body(command) else IdempotencyConflict
        if isinstance(command, PlaceOrder):
            return False if command.items in (None, known.items) else DeliveryExists
        if isinstance(command, RecordEta):
            return command.leg not in known.etas
        if command.VERB in known.holds:
            at_ms, argument = known.holds[command.VERB]
            if command.at_ms in (None, at_ms) and command.argument in (None, argument):
                return False
        if (known.status, command.VERB) not in NEXT:
            other = command.VERB == "assign" and known.status == "assigned" and command.argument != known.rider
            return OtherRider if other else WrongStatus
        if command.VERB == "assign" and len(self.legs_of(command.argument)) == 20:
            return TooManyLegs
        return True

    def note(self, command: DeliveryCommand) -> None:
        """Record a command that is expected to be recorded."""
        if isinstance(command, PlaceOrder):
            known = self.orders[command.order_id] = OrderModel(command)
        elif isinstance(command, RecordEta):
            known = self.orders[command.order_id]
            known.etas.add(command.leg)
        else:
            known = self.orders[command.order_id]
            known.status = NEXT[known.status, command.VERB]
            known.holds.pop({"assign": "unassign", "unassign": "assign"}.get(command.VERB, ""), None)
            known.holds[command.VERB] = (command.happened_ms, command.argument)
            known.rider = {"assign": command.argument, "unassign": None}.get(command.VERB, known.rider)
        if command.command_id is not None:
            known.keys[command.command_id] = _body(command)

    def execute(self, command: DeliveryCommand) -> Outcome:
        outcome = self.expected(command)
        if outcome is True:
            self.note(command)
        return outcome

    def legs_of(self, rider_id: str | None) -> set[tuple[str, str]]:
        """The legs that the statuses of the orders give a rider."""
        return {
            (order_id, LEG_OF[known.status])
            for order_id, known in self.orders.items()
            if known.rider == rider_id and known.status in LEG_OF
        }


def _body(command: DeliveryCommand) -> tuple[Any, ...]:
    return command.VERB, command.at_ms, command.argument, getattr(command, "items", None)
