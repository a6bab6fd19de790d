"""Request bodies, bounded: a client that sends two gigabytes is refused before they are read."""

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
MAX_DIGITS = 400

MOST_BYTES_AT_ONCE: Final = 256 * 1024 * 1024
"""Of all bodies that one process is reading: 32 of the largest that may come, thousands of a phone's batches."""


class BodyTimeouts(NamedTuple):
    """How long a body is waited for; else it would hold its part of the room for ever.

    ``stalled_s``: seconds in which nothing comes, as of a phone that has lost its network; as long as an idle
    connection is kept. ``whole_s``: seconds in all, for one that sends a byte now and then; the largest body comes
    whole in it at 30 kB/s, and a phone's batch on any network.
    """

    stalled_s: float = 30.0
    whole_s: float = 300.0

    def words(self) -> str:
        return (
            f"nothing of the body came for {self.stalled_s:.0f} s, or not all of it in {self.whole_s:.0f} s; "
            "send it again, in several requests if the network is slow"
        )


class UploadBudgetExceeded(ApiError):
    """Other bodies take all the room there is; nothing of this one is kept."""

    def __init__(self, most: int) -> None:
        detail = f"nothing was recorded: bodies of {most} bytes in all are read at once; send the request again"
        super().__init__(503, "uploads_full", detail, {"Retry-After": "1"})


class UploadBudget:
    """What bodies may hold together while they are read (invariant 15); ``held`` bytes of it are taken."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def refuse_without(self, size: int, limit: int) -> None:
        """Raises UploadBudgetExceeded unless ``size`` more bytes fit; one body alone always may have its ``limit``."""
        if self.held + size > max(self._most, limit):
            raise UploadBudgetExceeded(self._most)


_ROOM: Final = UploadBudget(MOST_BYTES_AT_ONCE)
_PATIENCE: Final = BodyTimeouts()


async def read_body(
    request: Request[Any, Any, Any], limit: int, room: UploadBudget = _ROOM, patience: BodyTimeouts = _PATIENCE
) -> bytes:
    """The whole body, without its Content-Encoding.

    Raises ApiError 413 past ``limit`` bytes, as sent or inflated, by its declared length or while it arrives;
    UploadBudgetExceeded if all bodies that are read take too much; 400 if it ends early or is damaged; 408 if it
    takes longer than ``patience`` has; 415 for a coding that is not read.
    """
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit():
        if int(declared) > limit:
            raise _too_large(limit)
        # Looked at, not taken: only what has come takes memory, and whoever declares much and sends nothing takes none.
        room.refuse_without(int(declared), limit)
    encodings = request.headers.getall("content-encoding", None)
    coding = coding_of(encodings) if encodings else None
    inflater = Inflater(coding) if coding is not None else None
    sent_bytes = 0
    clock = asyncio.get_running_loop().time
    body = bytearray()  # a list of parts would hold many times their bytes where they come one by one
    whole_by = clock() + patience.whole_s
    try:
        async with asyncio.timeout_at(min(clock() + patience.stalled_s, whole_by)) as waited:
            async for chunk in request.stream():
                waited.reschedule(min(clock() + patience.stalled_s, whole_by))
                sent_bytes += len(chunk)
                for piece in (chunk,) if inflater is None else inflater.feed(chunk):
                    if max(len(body) + len(piece), sent_bytes) > limit:
                        raise _too_large(limit)
                    room.refuse_without(len(piece), limit)
                    room.held += len(piece)
                    body += piece
                    if inflater is not None and len(piece) == MAX_PIECE_BYTES:
                        await asyncio.sleep(0)
        if inflater is not None:
            inflater.finish()
        return bytes(body)
    except TimeoutError as error:
        raise ApiError(408, "body_stalled", patience.words()) from error
    except InternalServerException as error:
        # A phone that drops its upload is no failure of ours: as a 500 it would wake somebody.
        raise ApiError(400, "incomplete_body", "the connection was closed before the body had come whole") from error
    finally:
        room.held -= len(body)


def decode_json(body: bytes) -> Any:
    """The JSON value. Raises ApiError 400.

    Numbers that no double holds (1e999) and the NaN and Infinity that some clients write are let through as floats:
    they are refused one by one, so that one broken fix does not cost a phone its whole batch.
    """
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as strict:
        try:
            return json.loads(body, parse_int=finite_integer)
        except (ValueError, RecursionError):
            raise ApiError(400, "malformed_json", f"the body is no JSON: {strict}") from None


def finite_integer(digits: str) -> int | float:
    """An integer of a JSON text; one of more than MAX_DIGITS as a float, which may be infinite."""
    # Python refuses to convert thousands of digits, which would cost the whole batch; no coordinate has so many.
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "body_too_large", f"a body may have {limit} bytes, inflated; send it in several requests")
