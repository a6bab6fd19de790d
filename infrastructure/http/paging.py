"""What lists have in common: ``?limit&cursor`` -> ``{items, next}``, and times in requests."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any

from domain.timestamps import decimal_integer, utc_datetime
from infrastructure.http.errors import ApiError
from infrastructure.timestamps import time_ms

DEFAULT_LIMIT = "100"
"""As the query would say it."""
MOST = 1_000


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


def encode_cursor(last: str | datetime) -> str:
    """Where the next page begins; opaque to clients."""
    value = last.isoformat() if isinstance(last, datetime) else last
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """Raises ApiError (400) for a cursor that no answer has given."""
    if cursor is None:
        return None
    try:
        value = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise _invalid_cursor() from error
    if not isinstance(value, str) or "\0" in value or not _is_text(value):
        raise _invalid_cursor()
    return value


def decode_time_cursor(cursor: str | None) -> datetime | None:
    """The cursor of a list that is ordered by time. Raises ApiError (400)."""
    text = decode_cursor(cursor)
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
    following = encode_cursor(items[-1][key]) if len(rows) > limit else None
    return {"items": items, "next": following, **more}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid_cursor() -> ApiError:
    return ApiError(400, "invalid_cursor", "give the cursor back as `next` of the page before had it")
