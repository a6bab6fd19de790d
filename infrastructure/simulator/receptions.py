"""What the platform receives of a simulated world, as the domain's values, in one order of reception. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from typing import Any, NamedTuple

from domain.deliveries.commands import Arrive, Assign, Cancel, Complete, DeliveryCommand, PickUp, PlaceOrder, Unassign
from domain.deliveries.values import Coordinates
from domain.gps_ping import GpsPing, parse_ping
from infrastructure.simulator.actions import Action, SentCommand, Upload
from infrastructure.simulator.deliveries import Verb
from infrastructure.simulator.scenario import Scenario


class Reception(NamedTuple):
    """A ping or command as received at ``received_ms`` (epoch milliseconds)."""

    received_ms: int
    item: GpsPing | DeliveryCommand


_STEPS: Mapping[Verb, type[DeliveryCommand]] = {
    Verb.ASSIGN: Assign,
    Verb.UNASSIGN: Unassign,
    Verb.PICK_UP: PickUp,
    Verb.ARRIVE: Arrive,
    Verb.COMPLETE: Complete,
    Verb.CANCEL: Cancel,
}


def receptions(actions: Iterable[Action], scenario: Scenario) -> Iterator[Reception]:
    """Each ping and command of ``actions``, which are in the order of sending."""
    for action in actions:
        # Rounded up, so that nothing is received before it happened.
        received_ms = scenario.start_ms + ceil(action.send_at_s * 1_000.0)
        if isinstance(action, Upload):
            for fix in action.fixes:
                yield Reception(received_ms, parse_ping(fix.ping, received_ms))
        else:
            yield Reception(received_ms, domain_command(action, received_ms))


def domain_command(sent: SentCommand, received_ms: int) -> DeliveryCommand:
    """The command that the HTTP interface makes of ``sent``, received at ``received_ms``."""
    common: dict[str, Any] = {"order_id": sent.order_id, "received_ms": received_ms, "command_id": sent.key}
    body = dict(sent.body)
    if sent.verb is Verb.PLACE:
        del body["order_id"]
        restaurant, customer = Coordinates(**body.pop("restaurant")), Coordinates(**body.pop("customer"))
        placed_ms = body.pop("placed_at")
        return PlaceOrder(**common, at_ms=placed_ms, restaurant=restaurant, customer=customer, **body)
    return _STEPS[sent.verb](**common, at_ms=body.pop("at"), **body)
