"""Pages lists (``?limit&cursor`` -> ``{items, next}``), and parses numbers and times in requests."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any, Final

from litestar.openapi.spec import OpenAPIType
from litestar.params import Parameter

from domain.timestamps import decimal_integer, utc_datetime
from infrastructure.http.errors import ApiError
from infrastructure.timestamps import time_ms

DEFAULT_LIMIT = "100"
"""Text, as in the query."""
MAX_LIMIT = 1_000
CHECKSUM_BYTES: Final = 6
_INT64: Final = re.compile(r"-?[0-9]{1,19}")
MAX_CURSOR_CHARS: Final = 1_024
"""The longest cursor that ``encode_cursor`` makes names a time and an order of 128 code points: 719 characters."""

_LAST: Final = datetime.max.replace(tzinfo=UTC)

Time = Annotated[str | None, Parameter(description="epoch milliseconds, or RFC 3339 with zone")]
Limit = Annotated[
    str,
    Parameter(
        description="rows a page, 1 to 1,000",
        schema_extra={"type": OpenAPIType.INTEGER, "minimum": 1, "maximum": MAX_LIMIT, "default": int(DEFAULT_LIMIT)},
    ),
]
Cursor = Annotated[str | None, Parameter(description="`next` of the page before")]
"""Types of the query parameters that lists share."""


def whole_number(name: str, text: str) -> int:
    """The integer of a query parameter: ``5`` and ``5.0``, but no exponent that lost digits, as in all requests.

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
    if not 1 <= limit <= MAX_LIMIT:
        raise ApiError(400, "invalid_limit", f"limit is from 1 to {MAX_LIMIT}, not {limit}")
    return limit


def encode_cursor(last: str | datetime, order: str) -> str:
    """The start of the next page of a list that is ordered by the column ``order``. Opaque to clients."""
    value = (last.isoformat() if isinstance(last, datetime) else last).encode()
    return base64.urlsafe_b64encode(_checksum(value, order) + value).decode().rstrip("=")


def decode_cursor(cursor: str | None, order: str) -> str | None:
    """The value that ``encode_cursor`` encoded. Raises ApiError (400) for a cursor that it did not make."""
    if cursor is None:
        return None
    if len(cursor) > MAX_CURSOR_CHARS:
        raise _invalid_cursor()
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        value = data[CHECKSUM_BYTES:].decode()
    except ValueError as error:
        raise _invalid_cursor() from error
    # Encode the value again: another spelling of the same bytes is not a valid cursor either.
    if "\0" in value or encode_cursor(value, order) != cursor:
        raise _invalid_cursor()
    return value


def decode_time_cursor(cursor: str | None, order: str) -> datetime | None:
    """Decode the cursor of a list that is ordered by time. Raises ApiError (400)."""
    text = decode_cursor(cursor, order)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _invalid_cursor() from error
    # fromisoformat accepts other forms too, and which ones depends on the version of Python.
    if found.tzinfo is None or found.isoformat() != text:
        raise _invalid_cursor()
    return found


def instant(name: str, value: str | None) -> datetime | None:
    """The time of a query parameter: epoch milliseconds or RFC 3339 with zone. Raises ApiError (400)."""
    return None if value is None else utc_datetime(instant_ms(name, value))


def instant_ms(name: str, value: str) -> int:
    """Like ``instant``, as epoch milliseconds. Raises ApiError (400)."""
    try:
        return time_ms(value)
    except ValueError as error:
        detail = f"{name} is epoch milliseconds or an RFC 3339 time with zone: {error}"
        raise ApiError(400, "invalid_time", detail) from error


def later_by(moment: datetime, step: timedelta) -> datetime:
    """``moment`` plus a step, at most the end of the calendar."""
    return moment + min(step, _LAST - moment)


def full_hour(moment: datetime) -> datetime:
    """The start of the hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def page(rows: list[dict[str, Any]], limit: int, key: str, **more: Any) -> dict[str, Any]:
    """One page of ``rows``, which are ordered by ``key`` and have one row more than ``limit`` if a page follows."""
    items = rows[:limit]
    following = encode_cursor(items[-1][key], key) if len(rows) > limit else None
    return {"items": items, "next": following, **more}


def encode_keyset(first: int, second: str, order: str) -> str:
    """The cursor of a list that is ordered by a number and, where that is the same, by an id."""
    return encode_cursor(f"{first}/{second}", order)


def decode_keyset(cursor: str | None, order: str) -> tuple[int, str] | None:
    """The values that ``encode_keyset`` encoded. Raises ApiError (400) for a cursor that it did not make."""
    text = decode_cursor(cursor, order)
    if text is None:
        return None
    number, _, second = text.partition("/")
    if _INT64.fullmatch(number) is None:
        raise _invalid_cursor()
    first = int(number)
    # Encode the value again: another spelling of the same number is not a valid cursor either.
    if not -(1 << 63) <= first < 1 << 63 or f"{first}/{second}" != text:
        raise _invalid_cursor()
    return first, second


def _checksum(value: bytes, order: str) -> bytes:
    # Not a secret: a forged cursor only chooses where a page begins, which every reader may. The checksum detects a
    # cursor that was cut, changed or taken from another list.
    return blake2b(value, digest_size=CHECKSUM_BYTES, person=order.encode()[: blake2b.PERSON_SIZE]).digest()


def _invalid_cursor() -> ApiError:
    return ApiError(400, "invalid_cursor", "send the cursor exactly as `next` of the page before gave it")
