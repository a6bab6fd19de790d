"""Request bodies, bounded: a client that sends two gigabytes is refused before they are read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException

from infrastructure.http.errors import ApiError

_DECODER = msgspec.json.Decoder()
MAX_DIGITS = 400


async def read_body(request: Request[Any, Any, Any], limit: int) -> bytes:
    """The whole body.

    Raises ApiError 413 past ``limit`` bytes, by its declared length or while it comes, and 400 if it ends early.
    """
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
    except InternalServerException as error:
        # A phone that drops its upload is no failure of ours: as a 500 it would wake somebody.
        raise ApiError(400, "incomplete_body", "the connection was closed before the body had come whole") from error
    return b"".join(chunks)


def decode_json(body: bytes) -> Any:
    """The JSON value. Raises ApiError 400.

    Numbers that no double holds (1e999) and the NaN and Infinity that some clients write are let through as floats:
    they are refused one by one, so that one broken fix does not cost a phone its whole batch.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as strict:
        try:
            return json.loads(body, parse_int=_integer)
        except (ValueError, RecursionError):
            raise ApiError(400, "malformed_json", f"the body is no JSON: {strict}") from None


def _integer(digits: str) -> int | float:
    # Python refuses to convert thousands of digits, which would cost the whole batch; no coordinate has so many.
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "body_too_large", f"a body may have {limit} bytes; send the pings in several requests")
