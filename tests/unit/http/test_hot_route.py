"""A route and a response with fewer layers answer exactly as those of the framework do."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from litestar import Litestar, MediaType, Response, get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery

from infrastructure.http.errors import HANDLERS, ApiError
from infrastructure.http.head_requests import HeadApplication
from infrastructure.http.hot_route import HotRoute, ReadyAnswer

BODY = b'{"speed_mps":4.25}'
HEADERS = {"Ridelog-Silent": "no", "Ridelog-Pipeline-Delay-Ms": "40"}


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if connection.headers.get("authorization") != handler.opt["needs"]:
        raise ApiError(401, "unauthorized", "send a token", {"WWW-Authenticate": "Bearer"})


@get("/riders/{rider_id:str}/speed", media_type=MediaType.JSON, opt={"needs": "yes"}, guards=[guard])
async def plain(rider_id: FromPath[str], allow_expired: FromQuery[bool] = False) -> Response[dict[str, Any]]:
    encoded: Any = BODY
    return Response(encoded, media_type=MediaType.JSON, headers=HEADERS)


@HotRoute(
    "/riders/{rider_id:str}/speed", http_method="GET", media_type=MediaType.JSON, opt={"needs": "yes"}, guards=[guard]
)
async def hot(rider_id: FromPath[str], allow_expired: FromQuery[bool] = False) -> Response[dict[str, Any]]:
    return ReadyAnswer(BODY, HEADERS)


def messages(route: Any, method: str, path: str, query: bytes, token: str) -> list[Any]:
    """What the application sends for one request."""
    application: Litestar = HeadApplication([route], exception_handlers=HANDLERS, openapi_config=None)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"authorization", token.encode())],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    asyncio.run(cast("Any", application)(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    ("method", "path", "query", "token", "status"),
    [
        ("GET", "/riders/anna/speed", b"", "yes", 200),
        ("GET", "/riders/anna/speed", b"allow_expired=true", "yes", 200),
        ("HEAD", "/riders/anna/speed", b"", "yes", 200),
        ("GET", "/riders/anna/speed", b"allow_expired=maybe", "yes", 400),
        ("GET", "/riders/anna/speed", b"", "no", 401),
        ("POST", "/riders/anna/speed", b"", "yes", 405),
        ("OPTIONS", "/riders/anna/speed", b"", "yes", 204),
        ("GET", "/riders/anna", b"", "yes", 404),
    ],
)
def test_a_hot_route_sends_what_a_route_of_the_framework_sends(
    method: str, path: str, query: bytes, token: str, status: int
) -> None:
    expected = messages(plain, method, path, query, token)
    assert expected[0]["status"] == status
    assert messages(hot, method, path, query, token) == expected
