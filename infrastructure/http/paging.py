"""What lists have in common: ``?limit&cursor`` -> ``{items, next}``, and times in requests."""

from __future__ import annotations

import base64
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from domain.timestamps import decimal_integer, utc_datetime
from infrastructure.http.errors import ApiError
from infrastructure.timestamps import time_ms

DEFAULT_LIMIT = "100"
"""As the query would say it."""
MOST = 1_000
CHECKSUM_BYTES: Final = 6
MAX_CURSOR_CHARS: Final = 1_024
"""The longest that we make names a rider of 128 code points: 692 characters."""


def whole_number(name: str, text: str) -> int:
    """The integer of a query parameter, read as everywhere: ``5`` and ``5.0``, and no exponent that lost digits.

    Raises:
        ApiError: 400, the text is not an integer.
    """
    try:
        number = decimal_integer(text)
    except ValueError as error:
        raise ApiError(400, "invalid_request", f"{name} is an integer: {error}") from error
    if number is None:
        raise ApiError(400, "invalid_request", f"{name} is an integer, not {text[:40]!r}")
    return number


def checked_limit(text: str) -> int:
    """Raises ApiError (400) outside 1 to 1,000."""
    limit = whole_number("limit", text)
    if not 1 <= limit <= MOST:
        raise ApiError(400, "invalid_limit", f"limit is from 1 to {MOST}, not {limit}")
    return limit


def encode_cursor(last: str | datetime, order: str) -> str:
    """Where the next page of a list begins that is ordered by the column ``order``; opaque to clients."""
    value = (last.isoformat() if isinstance(last, datetime) else last).encode()
    return base64.urlsafe_b64encode(_checksum(value, order) + value).decode().rstrip("=")


def decode_cursor(cursor: str | None, order: str) -> str | None:
    """The place that ``encode_cursor`` was given. Raises ApiError (400) for a cursor that it did not make."""
    if cursor is None:
        return None
    if len(cursor) > MAX_CURSOR_CHARS:
        raise _invalid_cursor()
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        value = data[CHECKSUM_BYTES:].decode()
    except ValueError as error:
        raise _invalid_cursor() from error
    # Made again from its own value: another spelling of the same bytes is none of ours either.
    if "\0" in value or encode_cursor(value, order) != cursor:
        raise _invalid_cursor()
    return value


def decode_time_cursor(cursor: str | None, order: str) -> datetime | None:
    """The cursor of a list that is ordered by time. Raises ApiError (400)."""
    text = decode_cursor(cursor, order)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _invalid_cursor() from error
    # fromisoformat accepts other forms than ours, and not the same ones in each Python.
    if found.tzinfo is None or found.isoformat() != text:
        raise _invalid_cursor()
    return found


def instant(name: str, value: str | None) -> datetime | None:
    """Epoch milliseconds or RFC 3339 with zone. Raises ApiError (400)."""
    return None if value is None else utc_datetime(instant_ms(name, value))


def instant_ms(name: str, value: str) -> int:
    """The same as epoch milliseconds. Raises ApiError (400)."""
    try:
        return time_ms(value)
    except ValueError as error:
        detail = f"{name} is epoch milliseconds or an RFC 3339 time with zone: {error}"
        raise ApiError(400, "invalid_time", detail) from error


def page(rows: list[dict[str, Any]], limit: int, key: str, **more: Any) -> dict[str, Any]:
    """``rows`` has one more than asked for if there is a next page; its order is that of ``key``."""
    items = rows[:limit]
    following = encode_cursor(items[-1][key], key) if len(rows) > limit else None
    return {"items": items, "next": following, **more}


def _checksum(value: bytes, order: str) -> bytes:
    # No secret: whoever forges it chooses where a page begins, which every reader may. It tells a cursor of this list
    # from one that was cut, changed or given by another list.
    return blake2b(value, digest_size=CHECKSUM_BYTES, person=order.encode()[: blake2b.PERSON_SIZE]).digest()


def _invalid_cursor() -> ApiError:
    return ApiError(400, "invalid_cursor", "give the cursor back as `next` of the page before had it")
