"""A request body, as it comes over the wire or does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from litestar import Litestar, Request, post

from infrastructure.http.bodies import read_body
from infrastructure.http.errors import ApiError


def read(*messages: dict[str, Any]) -> bytes:
    """What ``read_body`` makes of a request that comes as ``messages``, with a limit of 100 bytes."""
    left = list(messages)
    found: list[bytes | ApiError] = []

    @post("/pings", media_type="text/plain")
    async def handler(request: Request[Any, Any, Any]) -> str:
        try:
            found.append(await read_body(request, 100))
        except ApiError as error:
            found.append(error)
        return ""

    async def receive() -> Any:
        return left.pop(0)

    async def send(_message: Any) -> None:
        return

    scope: Any = {"type": "http", "method": "POST", "path": "/pings", "headers": [], "query_string": b""}
    asyncio.run(Litestar([handler], request_max_body_size=None)(scope, receive, send))
    (one,) = found
    if isinstance(one, ApiError):
        raise one
    return one


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_parts_is_one_body() -> None:
    assert read(part(b"[1,", more=True), part(b"2]", more=False)) == b"[1,2]"


def test_invariant_15_a_body_past_the_limit_is_refused_while_it_comes() -> None:
    with pytest.raises(ApiError) as refused:
        read(part(b"x" * 60, more=True), part(b"x" * 60, more=True))
    assert (refused.value.status, refused.value.code) == (413, "body_too_large")


def test_regression_an_upload_that_is_dropped_is_no_error_of_the_server() -> None:
    with pytest.raises(ApiError) as refused:
        read(part(b"[1,", more=True), {"type": "http.disconnect"})
    assert (refused.value.status, refused.value.code) == (400, "incomplete_body")
