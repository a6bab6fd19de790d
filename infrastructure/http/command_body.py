"""Reads what the bodies of commands share: the JSON object, the Idempotency-Key, texts and times.

Only the types are decided here. What a value may be, the command itself says (``Command.check``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.errors import InvalidType
from domain.json_fields import json_type, wrong_type
from domain.timestamps import json_integer
from infrastructure.http.request_body import decode_json
from infrastructure.timestamps import text_ms

MAX_BODY_BYTES: Final = 64 * 1024
"""Bounds the body of one command, inflated. All fields of an order at their longest have about 5 KiB."""

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


def text(item: Mapping[str, Any], name: str) -> str:
    """The text of a field. Raises InvalidType."""
    value = item.get(name)
    if type(value) is not str:
        raise wrong_type(item, name, "a string")
    return value


def text_or_none(item: Mapping[str, Any], name: str) -> str | None:
    """The text of a field, None if it is null or not sent. Raises InvalidType."""
    return None if item.get(name) is None else text(item, name)


def time_or_none(item: Mapping[str, Any], name: str) -> int | None:
    """The time of a field in epoch milliseconds, None if it is null or not sent. Raises InvalidType."""
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
