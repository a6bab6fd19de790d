"""Reading a request body that arrives in parts, stalls or never ends."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Litestar, Request, post

from domain.gps_ping import GpsPing
from domain.riders.application import PingOutcome
from infrastructure.http.errors import HANDLERS, ApiError
from infrastructure.http.pings import pings_route
from infrastructure.http.request_body import MAX_BYTES_IN_PROGRESS, BodyTimeouts, UploadBudget, read_body


def read(
    *messages: dict[str, Any],
    budget: UploadBudget | None = None,
    timeouts: BodyTimeouts | None = None,
    limit: int = 100,
) -> bytes:
    """The result of ``read_body`` for a request that arrives as ``messages`` and then stalls."""
    left = deque(messages)
    found: list[bytes | ApiError] = []

    @post("/pings", media_type="text/plain")
    async def handler(request: Request[Any, Any, Any]) -> str:
        try:
            found.append(await read_body(request, limit, budget or UploadBudget(100), timeouts or BodyTimeouts()))
        except ApiError as error:
            found.append(error)
        return ""

    async def receive() -> Any:
        if not left:
            await asyncio.Future[Any]()
        await asyncio.sleep(0)  # as a socket does, so that a timeout can occur between two messages
        return left.popleft()

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


def test_invariant_15_a_body_above_the_limit_is_rejected_while_it_arrives() -> None:
    with pytest.raises(ApiError) as error:
        read(part(b"x" * 60, more=True), part(b"x" * 60, more=True))
    assert (error.value.status, error.value.code) == (413, "body_too_large")


def test_regression_a_dropped_upload_is_not_an_error_of_the_server() -> None:
    with pytest.raises(ApiError) as error:
        read(part(b"[1,", more=True), {"type": "http.disconnect"})
    assert (error.value.status, error.value.code) == (400, "incomplete_body")


LIMIT = 8 * 1024 * 1024
ALMOST = b" " * (LIMIT - 1024)
PING = b'{"rider_id": "anna", "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": 1700000000000}'


class PingsEndpoint:
    """``POST /pings`` of one process, with an event store that records everything at once."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, int]] = []
        route = pings_route(
            self._submit,
            max_items=10_000,
            max_bytes=LIMIT,
            on_answered=lambda _answer: None,
            on_recorded=lambda _device, _ingest: None,
            on_unavailable=lambda why, pings: self.refused.append((why, pings)),
        )
        self.app = Litestar([route], request_max_body_size=None, exception_handlers=HANDLERS, openapi_config=None)

    @staticmethod
    async def _submit(pings: Sequence[GpsPing]) -> list[PingOutcome]:
        return [PingOutcome(position=1, is_new=True) for _ in pings]

    async def post(self, body: bytes, declared: int | None = None) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, answer and headers."""
        upload = BodyUpload(self, declared)
        await upload.send(part(body, more=False))
        await upload.ended
        return upload.answer()


class BodyUpload:
    """One request whose body the test sends part by part."""

    def __init__(self, endpoint: PingsEndpoint, declared: int | None = None) -> None:
        self._arriving: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._read = asyncio.Event()
        self._sent: list[Any] = []
        headers = [] if declared is None else [(b"content-length", str(declared).encode())]
        scope: Any = {"type": "http", "method": "POST", "path": "/pings", "headers": headers, "query_string": b""}
        self.ended = asyncio.ensure_future(endpoint.app(scope, self._receive, self._on_sent))

    async def send(self, message: dict[str, Any]) -> None:
        """Returns once the message is read and more is requested, or the request has ended."""
        self._read.clear()
        self._arriving.put_nowait(message)
        asked = asyncio.ensure_future(self._read.wait())
        await asyncio.wait({asked, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()

    def answer(self) -> tuple[int, dict[str, Any], dict[str, str]]:
        start, *rest = self._sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], json.loads(b"".join(one.get("body", b"") for one in rest)), headers

    async def _receive(self) -> Any:
        if self._arriving.empty():
            self._read.set()
        return await self._arriving.get()

    async def _on_sent(self, message: Any) -> None:
        self._sent.append(message)


@asynccontextmanager
async def full_budget(endpoint: PingsEndpoint) -> AsyncIterator[list[BodyUpload]]:
    """As many uploads in progress as the budget allows."""
    uploads = [BodyUpload(endpoint) for _ in range(MAX_BYTES_IN_PROGRESS // LIMIT)]
    for upload in uploads:
        await upload.send(part(ALMOST, more=True))
        assert not upload.ended.done()
    yield uploads
    for upload in uploads:
        if not upload.ended.done():
            await upload.send({"type": "http.disconnect"})
            await upload.ended


def test_invariant_15_bodies_that_are_read_at_the_same_time_are_bounded_in_sum() -> None:
    async def run() -> None:
        endpoint = PingsEndpoint()
        async with full_budget(endpoint) as uploads:
            # By its declared length, before any of it is read; and by what arrives.
            for declared in (LIMIT, None):
                status, answer, headers = await endpoint.post(ALMOST, declared)
                assert (status, answer["code"], headers["retry-after"]) == (503, "uploads_full", "1")
                assert "nothing was recorded" in answer["detail"]
            assert endpoint.refused == [("uploads_full", 1)] * 2
            status, answer, _ = await endpoint.post(PING)
            assert (status, answer["accepted"]) == (200, 1), "a phone's own batch is small"
            await uploads[0].send(part(PING, more=False))
            await uploads[0].ended
            assert uploads[0].answer()[0] == 200
            assert (await endpoint.post(ALMOST + PING))[0] == 200, "one has ended: another one fits"

    asyncio.run(run())


async def whole(upload: BodyUpload) -> None:
    await upload.send(part(PING, more=False))
    assert upload.answer()[0] == 200


async def broken(upload: BodyUpload) -> None:
    await upload.send(part(b"[", more=False))
    assert upload.answer()[1]["code"] == "malformed_json"


async def too_large(upload: BodyUpload) -> None:
    await upload.send(part(ALMOST, more=True))
    assert upload.answer()[1]["code"] == "body_too_large"


async def dropped(upload: BodyUpload) -> None:
    await upload.send({"type": "http.disconnect"})
    assert upload.answer()[1]["code"] == "incomplete_body"


async def cancelled(upload: BodyUpload) -> None:
    upload.ended.cancel()
    await asyncio.wait({upload.ended})


@pytest.mark.parametrize("end", [whole, broken, too_large, dropped, cancelled])
def test_invariant_15_every_end_of_an_upload_frees_its_budget(end: Callable[[BodyUpload], Awaitable[None]]) -> None:
    async def run() -> None:
        endpoint = PingsEndpoint()
        async with full_budget(endpoint) as uploads:
            for upload in uploads:
                await end(upload)
                assert upload.ended.done()
        async with full_budget(endpoint):
            assert (await endpoint.post(ALMOST, LIMIT))[0] == 503

    asyncio.run(run())


def test_a_single_body_may_always_have_its_limit() -> None:
    assert read(part(b"x" * 60, more=True), part(b"x" * 40, more=False), budget=UploadBudget(50)) == b"x" * 100


def test_an_upload_that_stalls_is_ended_and_frees_its_budget() -> None:
    """A phone that has lost its network sends nothing more. What it has sent would be held for ever."""
    budget = UploadBudget(100)
    with pytest.raises(ApiError) as error:
        read(part(b"[1,", more=True), budget=budget, timeouts=BodyTimeouts(stalled_s=0.01))
    assert (error.value.status, error.value.code) == (408, "body_stalled")
    assert budget.held == 0


def test_invariant_15_a_body_that_arrives_byte_by_byte_is_ended() -> None:
    """Each byte arrives before the stall timeout. The body would be held for ever."""
    budget = UploadBudget(100)
    drip = [part(b"x", more=True)] * 1_000_000
    with pytest.raises(ApiError) as error:
        read(*drip, budget=budget, timeouts=BodyTimeouts(stalled_s=600.0, whole_s=0.05), limit=len(drip))
    assert (error.value.status, error.value.code) == (408, "body_stalled")
    assert budget.held == 0
