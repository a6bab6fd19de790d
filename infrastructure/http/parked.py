"""``/parked``: keys that are held back at an event which cannot be folded, and their retry."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, Protocol

import msgspec
from litestar import MediaType, Request, Router, get, post
from litestar.openapi.spec import OpenAPIType, Operation, Schema
from litestar.params import FromPath, Parameter

from domain.errors import DomainError
from infrastructure.http.command_body import decode_object, text
from infrastructure.http.delivery_operations import object_body
from infrastructure.http.errors import ApiError, errors
from infrastructure.http.paging import DEFAULT_LIMIT, Cursor, Limit, checked_limit, decode_cursor, encode_cursor
from infrastructure.http.request_body import read_body
from infrastructure.http.shared_reads import SharedReads

MAX_BODY_BYTES: Final = 4 * 1024
MAX_KEY_CODE_POINTS: Final = 128
_ORDER: Final = "parked"
_RETRY_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="parked-retry")
"""A retry may fold a million events: one at a time, in a thread that no read needs."""
READ_INTERVAL_S: Final = 10.0
"""From the end of a read to the next one of the same, or to a retry of this server."""


class ParkedItem(msgspec.Struct):
    """A key of one generation, and the event at which it is held back. ``kind``: what failed, ``reason``: how.

    ``served``: readers follow that generation, so that they see the key as of before the event. ``retriable``: it was
    folded by the code of this server.
    """

    projection: str
    generation: int
    served: bool
    retriable: bool
    key: str
    position: int
    version: int
    event_type: str
    kind: str
    reason: str
    parked_at_ms: int


class ParkedPage(msgspec.Struct):
    """By projection, generation and place of the key. ``total``: of all pages."""

    items: list[ParkedItem]
    next: str | None
    total: int


class ParkedPlace(NamedTuple):
    """A key in the list: what a cursor names."""

    projection: str
    generation: int
    key: str


class RetryItem(msgspec.Struct):
    """``verdict``: `unparked`, `part` (some events folded), `still`. ``events``: folded. ``reason``: why it is held."""

    generation: int
    verdict: str
    events: int
    reason: str | None


class RetryAnswer(msgspec.Struct):
    """The outcome in each generation in which the key was parked."""

    projection: str
    key: str
    items: list[RetryItem]


class ParkedDesk(Protocol):
    """Lists and retries parked keys. Blocks; safe to call in several threads. Raises ApiError."""

    def page(self, projection: str | None, limit: int, after: ParkedPlace | None) -> ParkedPage: ...

    def retry(self, projection: str, key: str) -> RetryAnswer: ...


@dataclass
class RetryOperation(Operation):
    """Which key."""

    def __post_init__(self) -> None:
        key = Schema(type=OpenAPIType.STRING, min_length=1, max_length=MAX_KEY_CODE_POINTS)
        self.request_body = object_body("ParkedRetry", ["key"], {"key": key})


def parked_router(desk: ParkedDesk) -> Router:
    """Everything under ``/parked``."""
    reads: SharedReads[ParkedPage] = SharedReads(READ_INTERVAL_S)

    @get(
        media_type=MediaType.JSON,
        opt={"role": "read"},
        summary="Parked keys, each with the event and the reason",
        responses=errors(400, 404, 503),
    )
    async def get_parked(
        projection: Annotated[str | None, Parameter(description="only this projection")] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> ParkedPage:
        """Of every generation. All other keys go on; repair the cause, then retry."""
        asked = (projection, checked_limit(limit), _place(cursor))
        return await reads.get(asked, partial(desk.page, *asked))

    @post(
        "/{projection:str}/retry",
        opt={"role": "admin"},
        status_code=200,
        operation_class=RetryOperation,
        operation_id="retry_parked",
        summary="Fold the events of a parked key again",
        responses=errors(400, 404, 408, 409, 413, 415, 503),
    )
    async def retry_parked(request: Request[Any, Any, Any], projection: FromPath[str]) -> RetryAnswer:
        """As `parked retry` does: from the event store, in order. If all fold, the state is as if none had failed."""
        body = await read_body(request, MAX_BODY_BYTES)
        try:
            key = text(decode_object(body), "key")
        except DomainError as error:
            raise ApiError(400, error.code, str(error)) from error
        if not 1 <= len(key) <= MAX_KEY_CODE_POINTS or not key.isprintable():
            # No stream has such a key, and Postgres takes no text with U+0000.
            raise ApiError(400, "invalid_key", f"key has 1 to {MAX_KEY_CODE_POINTS} printable code points")
        retry = partial(desk.retry, projection, key)
        try:
            return await asyncio.get_running_loop().run_in_executor(_RETRY_THREAD, retry)
        finally:
            reads.forget()

    return Router("/parked", route_handlers=[get_parked, retry_parked], tags=["parked keys"])


def parked_cursor(last: ParkedPlace) -> str:
    """The cursor of the page after this key."""
    return encode_cursor("/".join(map(str, last)), _ORDER)


def _place(cursor: str | None) -> ParkedPlace | None:
    found = decode_cursor(cursor, _ORDER)
    if found is None:
        return None
    try:
        # A key may have slashes.
        projection, generation, key = found.split("/", 2)
        return ParkedPlace(projection, int(generation), key)
    except ValueError as error:
        # The checksum of a cursor is no secret: a client can make one of any text.
        raise ApiError(400, "invalid_cursor", "send the cursor exactly as `next` of the page before gave it") from error
