"""Parses the requests of ``/deliveries``: a body and a key become a command, or the error that names what is wrong.

Only the types are decided here. What a value may be, the command itself says (``DeliveryCommand.check``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.deliveries.commands import (
    Arrive,
    Assign,
    Cancel,
    Complete,
    DeliveryCommand,
    PickUp,
    PlaceOrder,
    Unassign,
)
from domain.deliveries.values import Coordinates
from domain.errors import InvalidType
from domain.json_fields import number, wrong_type
from domain.timestamps import json_integer
from infrastructure.http.command_body import text, text_or_none, time_or_none

STEPS: Final[dict[str, type[DeliveryCommand]]] = {
    step.VERB: step for step in (Assign, Unassign, PickUp, Arrive, Complete, Cancel)
}
"""The commands on a placed order, by the last part of their path."""


def parse_place(item: Mapping[str, Any], key: str | None, received_ms: int) -> PlaceOrder:
    """The command of ``POST /deliveries``, checked.

    Raises:
        DomainError: one of those of ``DeliveryCommand.check``, or InvalidType.
    """
    command = PlaceOrder(
        order_id=text(item, "order_id"),
        restaurant=_place(item, "restaurant"),
        customer=_place(item, "customer"),
        time_zone=text(item, "time_zone"),
        currency=text(item, "currency"),
        at_ms=time_or_none(item, "placed_at"),
        city=text_or_none(item, "city"),
        preparation_seconds=_count(item, "preparation_seconds"),
        promised_seconds=_count(item, "promised_seconds"),
        items=_count(item, "items"),
        source_service=text_or_none(item, "source_service"),
        received_ms=received_ms,
        command_id=key,
    )
    command.check()
    return command


def parse_step(verb: str, order_id: str, item: Mapping[str, Any], key: str | None, received_ms: int) -> DeliveryCommand:
    """The command of ``POST /deliveries/{order_id}/{verb}``, checked.

    Raises:
        DomainError: one of those of ``DeliveryCommand.check``, or InvalidType.
    """
    own: dict[str, Any] = {}
    if verb == Assign.VERB:
        own["rider_id"] = text(item, "rider_id")
    elif verb in {Unassign.VERB, Cancel.VERB}:
        own["reason"] = text_or_none(item, "reason")
    command = STEPS[verb](
        order_id=order_id,
        at_ms=time_or_none(item, "at"),
        source_service=text_or_none(item, "source_service"),
        received_ms=received_ms,
        command_id=key,
        **own,
    )
    command.check()
    return command


def _place(item: Mapping[str, Any], name: str) -> Coordinates:
    value = item.get(name)
    if type(value) is not dict:
        raise wrong_type(item, name, "an object with latitude and longitude")
    try:
        return Coordinates(number(value, "latitude"), number(value, "longitude"))
    except InvalidType as error:
        raise InvalidType(f"{name}: {error}") from error


def _count(item: Mapping[str, Any], name: str) -> int | None:
    value = item.get(name)
    if value is None:
        return None
    count = json_integer(value)
    if count is None:
        raise wrong_type(item, name, "an integer")
    return count
