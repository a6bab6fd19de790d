"""Reads request bodies within bounds: a client that sends two gigabytes is rejected before they are read."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException

from infrastructure.http.content_coding import MAX_PIECE_BYTES, Inflater, coding_of
from infrastructure.http.errors import ApiError

_DECODER = msgspec.json.Decoder()
MAX_DIGITS: Final = 400

MAX_BYTES_IN_PROGRESS: Final = 256 * 1024 * 1024
"""The limit for all bodies that one process is reading: 32 of the largest ones, or thousands of a phone's batches."""


class BodyTimeouts(NamedTuple):
    """How long to wait for a body. Otherwise it would keep its share of the upload budget for ever.

    ``stalled_s``: seconds without data, as from a phone that has lost its network; as long as an idle connection is
    kept. ``whole_s``: seconds in all, for a client that sends a byte now and then. In that time the largest body
    arrives at 30 kB/s, and a phone's batch on any network.
    """

    stalled_s: float = 30.0
    whole_s: float = 300.0

    def describe(self) -> str:
        return (
            f"no data of the body arrived for {self.stalled_s:.0f} s, or not all of it in {self.whole_s:.0f} s; "
            "send it again, in several requests if the network is slow"
        )


class UploadBudgetExceeded(ApiError):
    """Other bodies use the whole upload budget. Nothing of this body is kept."""

    def __init__(self, max_bytes: int) -> None:
        detail = f"nothing was recorded: bodies of {max_bytes} bytes in all are read at once; send the request again"
        super().__init__(503, "uploads_full", detail, {"Retry-After": "1"})


class UploadBudget:
    """Bounds the bytes that all bodies hold while they are read (invariant 15). ``held``: bytes in use now."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.held = 0

    def check_fits(self, size: int, limit: int) -> None:
        """Raises UploadBudgetExceeded unless ``size`` more bytes fit. A single body may always have its ``limit``."""
        if self.held + size > max(self._max_bytes, limit):
            raise UploadBudgetExceeded(self._max_bytes)


_BUDGET: Final = UploadBudget(MAX_BYTES_IN_PROGRESS)
_TIMEOUTS: Final = BodyTimeouts()


async def read_body(
    request: Request[Any, Any, Any], limit: int, budget: UploadBudget = _BUDGET, timeouts: BodyTimeouts = _TIMEOUTS
) -> bytes:
    """The whole body, decoded from its Content-Encoding.

    Raises ApiError 413 for more than ``limit`` bytes, as sent or inflated, by its declared length or while it arrives;
    UploadBudgetExceeded if the bodies that are being read exceed the budget; 400 if the body ends early or is damaged;
    408 if it exceeds ``timeouts``; 415 for an unsupported coding.
    """
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit():
        if int(declared) > limit:
            raise _too_large(limit)
        # Check the declared length but do not reserve it: a client that declares much and sends nothing uses no memory.
        budget.check_fits(int(declared), limit)
    encodings = request.headers.getall("content-encoding", None)
    coding = coding_of(encodings) if encodings else None
    inflater = Inflater(coding) if coding is not None else None
    sent_bytes = 0
    clock = asyncio.get_running_loop().time
    body = bytearray()  # a list of parts would use many times their size if they arrive byte by byte
    whole_by = clock() + timeouts.whole_s
    try:
        async with asyncio.timeout_at(min(clock() + timeouts.stalled_s, whole_by)) as waited:
            async for chunk in request.stream():
                waited.reschedule(min(clock() + timeouts.stalled_s, whole_by))
                sent_bytes += len(chunk)
                for piece in (chunk,) if inflater is None else inflater.feed(chunk):
                    if max(len(body) + len(piece), sent_bytes) > limit:
                        raise _too_large(limit)
                    budget.check_fits(len(piece), limit)
                    budget.held += len(piece)
                    body += piece
                    if inflater is not None and len(piece) == MAX_PIECE_BYTES:
                        await asyncio.sleep(0)
        if inflater is not None:
            inflater.finish()
        return bytes(body)
    except TimeoutError as error:
        raise ApiError(408, "body_stalled", timeouts.describe()) from error
    except InternalServerException as error:
        # A phone that drops its upload is not a failure of this server: a 500 would raise an alert.
        raise ApiError(400, "incomplete_body", "the connection was closed before the whole body had arrived") from error
    finally:
        budget.held -= len(body)


def decode_json(body: bytes) -> Any:
    """The JSON value. Raises ApiError 400.

    Numbers that exceed a double (1e999), and the NaN and Infinity that some clients write, become floats. They are then
    rejected one by one, so that one broken ping does not cost a phone its whole batch.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as strict:
        try:
            return json.loads(body, parse_int=finite_integer)
        except (ValueError, RecursionError):
            raise ApiError(400, "malformed_json", f"the body is not JSON: {strict}") from None


def finite_integer(digits: str) -> int | float:
    """An integer of a JSON text; if it has more than MAX_DIGITS, a float, which may be infinite."""
    # Python refuses to convert thousands of digits, which would reject the whole batch. No coordinate has so many.
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "body_too_large", f"a body may have {limit} bytes, inflated; send it in several requests")
