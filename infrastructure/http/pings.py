"""``POST /pings``: the only way by which pings are received over HTTP.

The handler reads its body itself, so ``PingsOperation`` describes the body for OpenAPI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
from litestar import MediaType, Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from domain.gps_ping import GpsPing
from domain.riders.application import PingOutcome
from infrastructure.http.errors import errors, unavailable
from infrastructure.http.ping_body import Rejected, decode_pings
from infrastructure.http.request_body import UploadBudgetExceeded, read_body
from infrastructure.ingest.group_commit import ClockRefused, NotRecorded, QueueFull
from infrastructure.timestamps import now_ms

_PING = Schema(
    title="Ping",
    type=OpenAPIType.OBJECT,
    required=["rider_id", "latitude", "longitude", "event_timestamp_ms"],
    properties={
        "rider_id": Schema(
            type=OpenAPIType.STRING,
            min_length=1,
            max_length=128,
            description="printable, no '/', no leading or trailing space",
        ),
        "latitude": Schema(type=OpenAPIType.NUMBER, minimum=-90, maximum=90, description="WGS84 degrees"),
        "longitude": Schema(type=OpenAPIType.NUMBER, minimum=-180, maximum=180, description="WGS84 degrees"),
        "event_timestamp_ms": Schema(
            one_of=[Schema(type=OpenAPIType.INTEGER), Schema(type=OpenAPIType.STRING)],
            description="epoch milliseconds, or RFC 3339 with zone; not before 2000, at most 5 minutes ahead",
        ),
        "accuracy_meters": Schema(
            type=[OpenAPIType.NUMBER, OpenAPIType.NULL], minimum=0, description="68 % radius in metres"
        ),
        "speed_mps": Schema(
            type=[OpenAPIType.NUMBER, OpenAPIType.NULL], description="by the device; negative = unknown"
        ),
        "is_mock": Schema(
            type=[OpenAPIType.BOOLEAN, OpenAPIType.NULL],
            description="whether the phone says that an app made the fix (Android's Location.isMock)",
        ),
        "event_id": Schema(
            type=[OpenAPIType.STRING, OpenAPIType.NULL],
            description="UUID; derived from the ping if it is not sent",
        ),
        "source_service": Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], max_length=128),
    },
)


@dataclass
class PingsOperation(Operation):
    """One ping, or an array of 1 to 10,000."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            required=True,
            description="A ping, or an array of 1 to 10,000; at most 8 MiB, inflated. Content-Encoding may be gzip or "
            "deflate. Each item is accepted or rejected on its own.",
            content={
                "application/json": OpenAPIMediaType(
                    schema=Schema(
                        one_of=[
                            Schema(type=OpenAPIType.ARRAY, items=_PING, min_items=1, max_items=10_000),
                            _PING,
                        ]
                    )
                )
            },
        )


class Submit(Protocol):
    async def __call__(self, pings: Sequence[GpsPing], /) -> list[PingOutcome]: ...


class Accepted(msgspec.Struct):
    """``accepted``: newly recorded pings. ``duplicates``: pings that were recorded before, or earlier in this request.

    ``position``: the highest position in the log of all of these, null if there is none.
    """

    accepted: int
    duplicates: int
    rejected: list[Rejected]
    position: int | None


UnavailableReason = Literal["queue_full", "event_store", "clock_ahead", "uploads_full"]
OnAnswered = Callable[[Accepted], None]
"""Called for each request that is answered with 200."""
OnRecorded = Callable[[float, float], None]
"""Called for each recorded request: seconds from its newest ping's event to reception, and from reception to commit."""
OnUnavailable = Callable[[UnavailableReason, int], None]
"""Called for each request that is answered with 503: why, and how many pings must be sent again."""


def pings_route(
    submit: Submit,
    *,
    max_items: int,
    max_bytes: int,
    on_answered: OnAnswered,
    on_recorded: OnRecorded,
    on_unavailable: OnUnavailable,
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
        """Answers after the commit. One request is one transaction. A ping that is sent again is recorded once."""
        try:
            body = await read_body(request, max_bytes)
            received_ms = now_ms()
            pings, indexes, rejected = await decode_pings(body, max_items, received_ms)
        except UploadBudgetExceeded:
            # The body was not decoded, so the number of its pings is unknown: the request counts as one.
            on_unavailable("uploads_full", 1)
            raise
        try:
            outcomes = await submit(pings)
        except QueueFull as error:
            on_unavailable("queue_full", len(pings))
            raise unavailable("queue_full", f"nothing was recorded: {error}; send the request again") from error
        except ClockRefused as error:
            on_unavailable("clock_ahead", len(pings))
            raise unavailable("clock_ahead", str(error)) from error
        except NotRecorded as error:
            on_unavailable("event_store", len(pings))
            raise unavailable(
                "event_store_unavailable",
                "the event store is unavailable; send the request again, it is recorded once",
            ) from error
        if pings:
            # Only the newest ping counts: older pings of the same request were delayed by the phone.
            newest_ms = max(ping.event_timestamp_ms for ping in pings)
            on_recorded(max(0, received_ms - newest_ms) / 1000, (now_ms() - received_ms) / 1000)
        answer = summary(outcomes, indexes, rejected)
        on_answered(answer)
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
