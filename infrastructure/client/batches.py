"""Pings as JSON, in requests that keep to the limits of ``POST /pings``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

MAX_ITEMS = 10_000
MAX_BODY_BYTES = 8 * 1024 * 1024

Ping = Mapping[str, Any]

_ENCODER = msgspec.json.Encoder()


def encode(ping: Ping) -> bytes:
    """One ping as JSON. Raises UnicodeEncodeError for a text that is no Unicode, OverflowError past 64 bits.

    NaN and infinity are written as such and not as null: the server names what is wrong with them.
    """
    if any(type(value) is float and not math.isfinite(value) for value in ping.values()):
        return json.dumps(dict(ping)).encode()
    return _ENCODER.encode(ping)


def body(items: Sequence[bytes]) -> bytes:
    """The request body for encoded pings."""
    return b"[" + b",".join(items) + b"]"


def split(
    items: Sequence[bytes], max_items: int = MAX_ITEMS, max_bytes: int = MAX_BODY_BYTES
) -> Iterator[Sequence[bytes]]:
    """Consecutive parts whose bodies keep to both limits; an item over ``max_bytes`` alone is a part of its own."""
    begin, size = 0, 2
    for index, item in enumerate(items):
        needed = len(item) + 1
        if index > begin and (index - begin == max_items or size + needed > max_bytes):
            yield items[begin:index]
            begin, size = index, 2
        size += needed
    if begin < len(items):
        yield items[begin:]
