"""``HEAD`` as RFC 9110 requires it, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from litestar import get, post
from litestar.response import Stream

from infrastructure.http.errors import HANDLERS
from infrastructure.http.head_requests import HeadApplication


@get("/whole")
async def whole() -> dict[str, int]:
    return {"a": 1}


@post("/posted")
async def posted() -> None:
    return None


@get("/endless")
async def endless() -> Stream:
    async def events() -> AsyncIterator[str]:
        while True:
            yield "data: 1\n\n"
            await asyncio.sleep(0)

    return Stream(events(), media_type="text/event-stream")


APPLICATION = HeadApplication([whole, posted, endless], exception_handlers=HANDLERS, openapi_config=None)


async def request(method: str, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body. The client disconnects once the response has ended."""
    messages: list[Any] = []
    ended = asyncio.Event()
    requested = False

    async def receive() -> Any:
        nonlocal requested
        if not requested:
            requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        assert not ended.is_set(), "nothing follows the end of a response"
        messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            ended.set()

    scope: Any = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    await asyncio.wait_for(APPLICATION(scope, receive, send), 10)
    assert ended.is_set()
    start, *rest = messages
    return start["status"], dict(start["headers"]), b"".join(one.get("body", b"") for one in rest)


def test_regression_head_has_the_status_and_headers_of_get_and_no_body() -> None:
    for path in ("/whole", "/nowhere"):
        status, headers, body = asyncio.run(request("GET", path))
        assert body
        assert asyncio.run(request("HEAD", path)) == (status, headers, b"")
        assert headers[b"content-length"] == str(len(body)).encode()


def test_head_of_an_endless_stream_ends() -> None:
    status, headers, body = asyncio.run(request("HEAD", "/endless"))
    assert (status, headers[b"content-type"].partition(b";")[0], body) == (200, b"text/event-stream", b"")


def test_head_is_not_allowed_where_get_is_not() -> None:
    status, headers, body = asyncio.run(request("HEAD", "/posted"))
    assert (status, body) == (405, b"")
    assert b"HEAD" not in headers[b"allow"]


def test_allow_names_head_wherever_it_names_get() -> None:
    status, headers, _ = asyncio.run(request("DELETE", "/whole"))
    assert status == 405
    assert {b"GET", b"HEAD"} <= set(headers[b"allow"].split(b", "))
