"""Reads fields of a decoded JSON object, with an error that names the field and what it should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from domain.errors import InvalidType


def number(item: Mapping[str, Any], name: str) -> float:
    """The number of a field; an integer that no double can hold is infinite. Raises InvalidType."""
    value = item.get(name)
    if type(value) is float:
        return value
    if type(value) is int:
        return _as_float(value)
    raise wrong_type(item, name, "a number")


def wrong_type(item: Mapping[str, Any], name: str, wanted: str) -> InvalidType:
    """The error for a field that is missing, or is not ``wanted``."""
    if name not in item:
        return InvalidType(f"{name} is missing: it must be {wanted}")
    return InvalidType(f"{name} must be {wanted}, not {json_type(item[name])}")


def json_type(value: object) -> str:
    """The name of a decoded JSON value's type, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer"}
    return "null" if value is None else names.get(type(value), "a number")


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
