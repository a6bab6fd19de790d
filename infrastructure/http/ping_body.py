"""Decodes the body of ``POST /pings``: small bodies on the event loop, large ones in a separate thread.

One C call of a JSON decoder holds the interpreter's lock until it returns, also in a thread. A large body is therefore
decoded item by item: between two items the event loop can run.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import msgspec

from domain.errors import PingRejected
from domain.gps_ping import GpsPing, parse_ping
from infrastructure.http.errors import ApiError
from infrastructure.http.request_body import MAX_BYTES_IN_PROGRESS, UploadBudget, decode_json, finite_integer

SMALL_BODY_BYTES: Final = 256 * 1024
"""A body up to this size (about 1,500 pings) is decoded on the event loop, in a few milliseconds at most."""

MAX_PING_BYTES: Final = 64 * 1024
"""The limit for one item in a larger body. It bounds the longest C call of the decoder, which blocks the event loop."""

_FIRST_WINDOW_CHARS: Final = 1_024

_RAW_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_RAW: Final = msgspec.json.Decoder(msgspec.Raw)
_LENIENT: Final = json.JSONDecoder(parse_int=finite_integer)
_BLANK: Final = re.compile(r"[ \t\n\r]*")

# Large bodies wait for one thread: more threads would only compete for the interpreter's lock. The wait is bounded.
_LARGE_BODIES: Final = UploadBudget(MAX_BYTES_IN_PROGRESS)
_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")


class Rejected(msgspec.Struct):
    """Why one item was not recorded; ``index`` counts from 0 in the request."""

    index: int
    code: str
    detail: str


class PingItems(NamedTuple):
    """The items of one body. ``indexes``: the index in the request of each of ``pings``."""

    pings: list[GpsPing]
    indexes: list[int]
    rejected: list[Rejected]


class _Oversized:
    """Marks an item of more than MAX_PING_BYTES, which is not decoded."""


_OVERSIZED: Final = _Oversized()


async def decode_pings(body: bytes, max_items: int, received_ms: int) -> PingItems:
    """The pings of a body, each checked on its own. ``received_ms`` (epoch) is the one clock reading of the request.

    Raises ApiError 400 for a body that is not JSON or neither an array nor an object, 413 for more than ``max_items``,
    and UploadBudgetExceeded if too many large bodies wait to be decoded.
    """
    if len(body) <= SMALL_BODY_BYTES:
        return _checked(small_items(body, max_items), received_ms)
    _LARGE_BODIES.check_fits(len(body), len(body))
    _LARGE_BODIES.held += len(body)
    try:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_THREAD, _decode_large, body, max_items, received_ms)
    finally:
        _LARGE_BODIES.held -= len(body)


def small_items(body: bytes, max_items: int) -> list[Any]:
    """The items of a body, decoded in one call. Raises ApiError 400 or 413."""
    value = decode_json(body)
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise _no_pings()
    return _bounded(value, max_items)


def large_items(body: bytes, max_items: int) -> list[Any]:
    """The same for a body of any size, in C calls on at most MAX_PING_BYTES. Raises ApiError 400 or 413."""
    try:
        # Finds the ends of the items without building their values: a millisecond for each megabyte.
        parts = _RAW_ITEMS.decode(body)
    except msgspec.ValidationError:
        return [_single(body)]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as strict:
        return _bounded(list(_lenient_items(body, max_items, strict)), max_items)
    return [
        _OVERSIZED if len(part) > MAX_PING_BYTES else decode_json(bytes(part)) for part in _bounded(parts, max_items)
    ]


def _decode_large(body: bytes, max_items: int, received_ms: int) -> PingItems:
    bare = body.strip(b" \t\n\r")
    items = small_items(bare, max_items) if len(bare) <= MAX_PING_BYTES else large_items(bare, max_items)
    return _checked(items, received_ms)


def _checked(items: list[Any], received_ms: int) -> PingItems:
    found = PingItems([], [], [])
    for index, item in enumerate(items):
        if item is _OVERSIZED:
            detail = f"in a large body a ping has at most {MAX_PING_BYTES:,} bytes"
            found.rejected.append(Rejected(index, "invalid_type", detail))
            continue
        try:
            found.pings.append(parse_ping(item, received_ms))
            found.indexes.append(index)
        except PingRejected as error:
            found.rejected.append(Rejected(index, error.code, str(error)))
    return found


def _single(body: bytes) -> Any:
    """The item of a large body that is one object, without blanks around it. Raises ApiError 400."""
    try:
        _RAW.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _malformed(error) from error
    if not body.startswith(b"{"):
        raise _no_pings()
    return _OVERSIZED


def _lenient_items(body: bytes, max_items: int, strict: Exception) -> Iterator[Any]:
    """Items of an array with NaN, Infinity or numbers that exceed a double. Raises ApiError 400.

    ``strict`` is the error of the strict decoder, which names the first such place. Stops one item after ``max_items``.
    """
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
    except UnicodeDecodeError:
        raise _malformed(strict) from None
    index = _after_blanks(text, 0)
    if text[index : index + 1] != "[":
        raise _malformed(strict)
    index = _after_blanks(text, index + 1)
    ends = text[index : index + 1] == "]"
    for _ in range(max_items + 1):
        if ends:
            break
        item, index = _lenient_item(text, index, strict)
        yield item
        index = _after_blanks(text, index)
        separator = text[index : index + 1]
        if separator not in {",", "]"}:
            raise _malformed(strict)
        ends = separator == "]"
        index = _after_blanks(text, index + 1)
    if ends and index < len(text):
        raise _malformed(strict)


def _lenient_item(text: str, start: int, strict: Exception) -> tuple[Any, int]:
    """The item at ``start`` and its end. Raises ApiError 400, also for an item larger than MAX_PING_BYTES."""
    for window in (_FIRST_WINDOW_CHARS, MAX_PING_BYTES):
        piece = text[start : start + window]
        try:
            item, length = _LENIENT.raw_decode(piece)
        except (ValueError, RecursionError):
            continue
        # A number that reaches the end of the window may continue after it.
        if length < len(piece) or start + length == len(text):
            return item, start + length
    raise _malformed(strict)


def _after_blanks(text: str, index: int) -> int:
    found = _BLANK.match(text, index)
    return index if found is None else found.end()


def _bounded(items: list[Any], max_items: int) -> list[Any]:
    if not items:
        raise ApiError(400, "empty_batch", "the array contains no ping")
    if len(items) > max_items:
        raise ApiError(413, "too_many_pings", f"more than {max_items} pings; a request may have that many")
    return items


def _no_pings() -> ApiError:
    return ApiError(400, "invalid_body", "the body must be a ping or an array of pings")


def _malformed(strict: Exception) -> ApiError:
    return ApiError(400, "malformed_json", f"the body is not JSON: {strict}")
