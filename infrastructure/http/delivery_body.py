"""Parses the requests of ``/deliveries``: a body and a key become a command, or the error that names what is wrong.

Only the types are decided here. What a value may be, the command itself says (``DeliveryCommand.check``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from domain.json_fields import json_type, number, wrong_type
from domain.timestamps import json_integer
from infrastructure.http.request_body import decode_json
from infrastructure.timestamps import text_ms

MAX_BODY_BYTES: Final = 64 * 1024
"""Bounds the body of one command, inflated. All its fields at their longest have about 5 KiB."""

STEPS: Final[dict[str, type[DeliveryCommand]]] = {
    step.VERB: step for step in (Assign, Unassign, PickUp, Arrive, Complete, Cancel)
}
"""The commands on a placed order, by the last part of their path."""

_TIME: Final = "epoch milliseconds (an integer) or an RFC 3339 time with zone"


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty body counts as ``{}``. Unknown fields are ignored later.

    Raises:
        ApiError: 400, the body is not JSON.
        InvalidType: it is not an object.
    """
    item = decode_json(body) if body.strip(b" \t\n\r") else {}
    if type(item) is not dict:
        raise InvalidType(f"the body must be an object, not {json_type(item)}")
    return item


def idempotency_key(values: Sequence[bytes]) -> str | None:
    """The key in the headers of that name, None without one. Bytes that are not UTF-8 are read as Latin-1.

    Raises:
        InvalidType: there are several.
    """
    if not values:
        return None
    if len(values) > 1:
        raise InvalidType("send one Idempotency-Key, not several")
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        return values[0].decode("latin-1")


def parse_place(item: Mapping[str, Any], key: str | None, received_ms: int) -> PlaceOrder:
    """The command of ``POST /deliveries``, checked.

    Raises:
        DomainError: one of those of ``DeliveryCommand.check``, or InvalidType.
    """
    command = PlaceOrder(
        order_id=_text(item, "order_id"),
        restaurant=_place(item, "restaurant"),
        customer=_place(item, "customer"),
        time_zone=_text(item, "time_zone"),
        currency=_text(item, "currency"),
        at_ms=_time(item, "placed_at"),
        city=_text_or_none(item, "city"),
        preparation_seconds=_count(item, "preparation_seconds"),
        promised_seconds=_count(item, "promised_seconds"),
        items=_count(item, "items"),
        source_service=_text_or_none(item, "source_service"),
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
        own["rider_id"] = _text(item, "rider_id")
    elif verb in {Unassign.VERB, Cancel.VERB}:
        own["reason"] = _text_or_none(item, "reason")
    command = STEPS[verb](
        order_id=order_id,
        at_ms=_time(item, "at"),
        source_service=_text_or_none(item, "source_service"),
        received_ms=received_ms,
        command_id=key,
        **own,
    )
    command.check()
    return command


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if type(value) is not str:
        raise wrong_type(item, name, "a string")
    return value


def _text_or_none(item: Mapping[str, Any], name: str) -> str | None:
    return None if item.get(name) is None else _text(item, name)


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


def _time(item: Mapping[str, Any], name: str) -> int | None:
    value = item.get(name)
    if value is None:
        return None
    if type(value) is str:
        try:
            return text_ms(value)
        except ValueError as error:
            raise InvalidType(f"{name} must be {_TIME}: {error}") from error
    ms = json_integer(value)
    if ms is None:
        raise wrong_type(item, name, _TIME)
    return ms
