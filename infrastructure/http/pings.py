"""``POST /pings``: the one door through which pings come in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import msgspec
from litestar import MediaType, Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec

from domain.gps_ping import GpsPing
from domain.riders import PingOutcome
from infrastructure.http.bodies import NoRoom, read_body
from infrastructure.http.described import errors
from infrastructure.http.errors import unavailable
from infrastructure.http.openapi import PingsOperation
from infrastructure.http.ping_bodies import Rejected, decode_pings
from infrastructure.ingest.group_commit import ClockRefused, NotRecorded, QueueFull


class Submit(Protocol):
    async def __call__(self, pings: Sequence[GpsPing]) -> list[PingOutcome]: ...


class Accepted(msgspec.Struct):
    """``accepted`` were newly recorded; ``duplicates`` were recorded before, or earlier in this request.

    ``position`` is the highest in the log of all of these, null if there is none.
    """

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    position: int | None


Count = Callable[[Accepted], None]
Seen = Callable[[float, float], None]
"""Told of each recorded request: seconds from its newest ping's event to reception, and from reception to commit."""
Why = Literal["queue_full", "event_store", "clock_ahead", "uploads_full"]
Refused = Callable[[Why, int], None]
"""Told of each request that is answered with 503: why, and how many pings must be sent again."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def pings_route(
    submit: Submit, *, max_items: int, max_bytes: int, count: Count, seen: Seen, refused: Refused
) -> HTTPRouteHandler:
    @post(
        "/pings",
        status_code=200,
        media_type=MediaType.JSON,
        opt={"role": "ingest"},
        operation_class=PingsOperation,
        summary="Record GPS pings",
        tags=["ingest"],
        responses={200: ResponseSpec(Accepted, generate_examples=False)} | errors(400, 408, 413, 415, 503),
    )
    async def post_pings(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Answers after the commit; one request is one transaction. A ping sent again is recorded once."""
        try:
            body = await read_body(request, max_bytes)
            received_ms = now_ms()
            pings, indexes, rejected = await decode_pings(body, max_items, received_ms)
        except NoRoom:
            # How many pings are in a body that was not decoded is not known: the request counts as one.
            refused("uploads_full", 1)
            raise
        try:
            outcomes = await submit(pings)
        except QueueFull as error:
            refused("queue_full", len(pings))
            raise unavailable("queue_full", f"nothing was recorded: {error}; send the request again") from error
        except ClockRefused as error:
            refused("clock_ahead", len(pings))
            raise unavailable("clock_ahead", str(error)) from error
        except NotRecorded as error:
            refused("event_store", len(pings))
            raise unavailable(
                "event_store_unavailable",
                "the event store is away; send the request again, it is recorded once",
            ) from error
        if pings:
            # Of the newest ping only: what a phone sends late in the same request is old by its own doing.
            newest_ms = max(ping.event_timestamp_ms for ping in pings)
            seen(max(0, received_ms - newest_ms) / 1000, (now_ms() - received_ms) / 1000)
        answer = summary(outcomes, indexes, rejected)
        count(answer)
        return Response(msgspec.json.encode(answer), media_type=MediaType.JSON)

    return post_pings


def summary(outcomes: Sequence[PingOutcome], indexes: Sequence[int], rejected: list[Rejected]) -> Accepted:
    accepted = duplicates = 0
    position: int | None = None
    late: list[Rejected] = []
    for index, outcome in zip(indexes, outcomes, strict=True):
        if outcome.rejection is not None:
            late.append(Rejected(index, outcome.rejection.code, str(outcome.rejection)))
            continue
        if outcome.is_new:
            accepted += 1
        else:
            duplicates += 1
        if position is None or (outcome.position is not None and outcome.position > position):
            position = outcome.position
    if late:
        rejected = sorted([*rejected, *late], key=lambda item: item.index)
    return Accepted(accepted, duplicates, rejected, position)
