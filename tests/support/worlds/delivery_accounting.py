"""Compares what a client sent to ``/deliveries`` with the log: no command is lost, doubled, or recorded unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from infrastructure.event_store.aggregates import LogEvent
from tests.support.worlds.delivery_history import HistoryFound, check_history

_VERB_OF = {
    "DeliveryPlaced": "place",
    "DeliveryAssigned": "assign",
    "DeliveryUnassigned": "unassign",
    "DeliveryPickedUp": "pickup",
    "DeliveryArrived": "arrive",
    "DeliveryCompleted": "complete",
    "DeliveryCancelled": "cancel",
}
_LEG_OF = {"assigned": "to_restaurant", "picked_up": "to_customer", "arrived": "to_customer"}


class SentCommand(NamedTuple):
    """One command with its Idempotency-Key, however often it was sent.

    ``answered``: an answer said that it is recorded. ``recorded``: how many answers said that it was recorded just now.
    """

    order_id: str
    verb: str
    key: str
    answered: bool
    recorded: int


def account_for_commands(
    sent: Iterable[SentCommand], log: Sequence[LogEvent], decode: Callable[[bytes], Mapping[str, Any]]
) -> HistoryFound:
    """What the log leads to. Raises AssertionError, naming what is lost, doubled, unasked, or disagrees.

    An answered command is in the log once, another one at most once. Events of serving are passed over.
    """
    found = check_history(log, decode)
    logged: dict[tuple[str, str, str], int] = {}
    for event in log:
        if event.topic in _VERB_OF:
            entry = (event.aggregate_key, _VERB_OF[event.topic], event.command_id or "")
            logged[entry] = logged.get(entry, 0) + 1
    known = {(each.order_id, each.verb, each.key): each for each in sent}
    lost = [entry for entry, each in known.items() if each.answered and entry not in logged]
    double = [entry for entry, times in logged.items() if times > 1]
    double += [entry for entry, each in known.items() if each.recorded > 1]
    ours = {order_id for order_id, _, _ in known}
    unasked = [entry for entry in logged if entry[0] in ours and entry not in known]
    assert (lost, double, unasked) == ([], [], []), f"lost {lost}, doubled {double}, unasked {unasked}"
    differing = disagreeing_riders(found)
    assert not differing, f"riders whose open legs differ from their orders: {differing}"
    return found


def disagreeing_riders(found: HistoryFound) -> list[str]:
    """Riders whose open legs, by their own events, are not those that the statuses of their orders ask for."""
    expected: dict[str, set[tuple[str, str]]] = {}
    for order_id, order in found.orders.items():
        if order.status in _LEG_OF:
            expected.setdefault(order.rider_id, set()).add((order_id, _LEG_OF[order.status]))
    riders = expected.keys() | found.legs.keys()
    return sorted(rider for rider in riders if found.legs.get(rider, set()) != expected.get(rider, set()))
