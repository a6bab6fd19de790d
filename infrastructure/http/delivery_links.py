"""A link for the customer: a signed, expiring address that shows one order without a token.

It shows neither the rider nor a place: another reader of the link learns when the order comes, and no address. Of the
ETA it shows the seconds alone, since distances and speed of the rider would give places away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIType, Operation, Schema
from litestar.params import FromPath

from domain.deliveries.values import DeliverySnapshot, DeliveryStatus
from domain.errors import DomainError, OutOfRange
from domain.json_fields import wrong_type
from domain.timestamps import json_integer
from infrastructure.http.command_body import MAX_BODY_BYTES, decode_object
from infrastructure.http.delivery_answers import refusal
from infrastructure.http.delivery_operations import object_body
from infrastructure.http.errors import ApiError, errors
from infrastructure.http.eta_answers import EtaAnswer
from infrastructure.http.link_tokens import LinkTokens
from infrastructure.http.request_body import read_body
from infrastructure.timestamps import now_ms

PATH: Final = "/track"
DEFAULT_LIFETIME_S: Final = 24 * 3_600
MAX_LIFETIME_S: Final = 7 * 24 * 3_600
"""A link cannot be revoked, except all of them together by another secret."""

# The address is the secret: no cache may keep what it shows, and no page may send it on.
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
}

Find = Callable[[str], DeliverySnapshot]
"""The delivery of an order. Blocks. Raises ApiError, 404 for an unknown one."""


LiveEta = Callable[[str], Awaitable[EtaAnswer]]
"""The ETA of an order as of now. Raises ApiError, where there is none."""


class Link(msgspec.Struct):
    """``path``: the address below that of this server. ``expires_at_ms``: epoch milliseconds."""

    path: str
    expires_at_ms: int


class TrackedEta(msgspec.Struct):
    """Seconds from ``at_ms`` (epoch milliseconds) until hand-over: the median and the 90 % quantile."""

    p50_seconds: float
    p90_seconds: float
    at_ms: int


class TrackedOrder(msgspec.Struct):
    """What the customer sees. Times in epoch milliseconds, null until they are reached.

    ``eta``: null once the order is over, and while no ETA can be computed.
    """

    order_id: str
    status: str
    time_zone: str
    placed_at_ms: int
    assigned_at_ms: int | None
    picked_up_at_ms: int | None
    arrived_at_ms: int | None
    completed_at_ms: int | None
    cancelled_at_ms: int | None
    preparation_seconds: int | None
    promised_seconds: int | None
    items: int | None
    eta: TrackedEta | None


_OF_DELIVERY: Final = tuple(name for name in TrackedOrder.__struct_fields__ if name != "eta")
_OVER: Final = frozenset({DeliveryStatus.COMPLETED, DeliveryStatus.CANCELLED})


@dataclass
class LinkOperation(Operation):
    """How long the link opens the order."""

    def __post_init__(self) -> None:
        seconds = Schema(
            type=[OpenAPIType.INTEGER, OpenAPIType.NULL],
            minimum=1,
            maximum=MAX_LIFETIME_S,
            default=DEFAULT_LIFETIME_S,
            description="how long the link opens the order",
        )
        self.request_body = object_body("LinkRequest", [], {"expires_in_seconds": seconds})


def link_route(find: Find, tokens: LinkTokens) -> HTTPRouteHandler:
    """``POST /deliveries/{order_id}/link``, to be added under ``/deliveries``."""

    @post(
        "/{order_id:str}/link",
        opt={"role": "dispatch"},
        status_code=201,
        operation_class=LinkOperation,
        summary="Make a link for the customer",
        responses=errors(400, 404, 408, 413, 415, 503),
    )
    async def make_link(request: Request[Any, Any, Any], order_id: FromPath[str]) -> Response[Link]:
        """A signed address of this one order, which needs no token until it expires. It cannot be revoked."""
        body = await read_body(request, MAX_BODY_BYTES)
        try:
            lifetime_s = lifetime_seconds(decode_object(body))
        except DomainError as error:
            raise refusal(error) from error
        found = await asyncio.to_thread(find, order_id)
        expires_ms = now_ms() + lifetime_s * 1_000
        link = Link(f"{PATH}/{tokens.sign(found.order_id, expires_ms)}", expires_ms)
        return Response(link, status_code=201, headers={"Cache-Control": "no-store"})

    return make_link


def track_route(find: Find, live_eta: LiveEta, tokens: LinkTokens) -> HTTPRouteHandler:
    """``GET /track/{token}``: public."""

    @get(
        PATH + "/{link:str}",
        summary="One order, for its customer",
        tags=["deliveries"],
        responses=errors(400, 404, 503, public=True),
    )
    async def track(link: FromPath[str]) -> Response[TrackedOrder]:
        """Needs no token: the address is signed. Forged, changed and expired ones are all 404 `unknown_link`."""
        order_id = tokens.order_of(link, now_ms())
        if order_id is None:
            raise _unknown_link()
        try:
            found = await sync_to_thread(find, order_id)
        except ApiError as error:
            raise _shown_to_all(error) from error
        shown = {name: getattr(found, name) for name in _OF_DELIVERY}
        eta = None if found.status in _OVER else await _tracked_eta(live_eta, order_id)
        return Response(TrackedOrder(**shown, eta=eta), headers=_HEADERS)

    return track


async def _tracked_eta(live_eta: LiveEta, order_id: str) -> TrackedEta | None:
    try:
        values = (await live_eta(order_id)).values
    except ApiError:
        # Not folded yet, just over, or Redis does not answer: the order itself can be shown all the same.
        return None
    return TrackedEta(values["p50_seconds"], values["p90_seconds"], values["at_ms"])


def lifetime_seconds(item: Mapping[str, Any]) -> int:
    """The lifetime that a request names, else DEFAULT_LIFETIME_S.

    Raises:
        InvalidType: it is not an integer.
        OutOfRange: it is not within 1 to MAX_LIFETIME_S.
    """
    value = item.get("expires_in_seconds")
    if value is None:
        return DEFAULT_LIFETIME_S
    seconds = json_integer(value)
    if seconds is None:
        raise wrong_type(item, "expires_in_seconds", "an integer")
    if not 1 <= seconds <= MAX_LIFETIME_S:
        raise OutOfRange(f"expires_in_seconds must be within 1 and {MAX_LIFETIME_S}")
    return seconds


def _shown_to_all(error: ApiError) -> ApiError:
    """The error without its detail, which is for those who run this: it may name the database's address and user."""
    if error.status == 404:
        return _unknown_link()
    detail = "the order cannot be shown now; try again later"
    return ApiError(error.status, error.code, detail, error.headers | _HEADERS)


def _unknown_link() -> ApiError:
    return ApiError(404, "unknown_link", "this link is not valid, or it has expired", _HEADERS)
