"""A request body, as it comes over the wire or does not."""

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
from infrastructure.http.request_body import MOST_BYTES_AT_ONCE, BodyTimeouts, UploadBudget, read_body


def read(
    *messages: dict[str, Any], room: UploadBudget | None = None, patience: BodyTimeouts | None = None, limit: int = 100
) -> bytes:
    """What ``read_body`` makes of a request that comes as ``messages`` and no further."""
    left = deque(messages)
    found: list[bytes | ApiError] = []

    @post("/pings", media_type="text/plain")
    async def handler(request: Request[Any, Any, Any]) -> str:
        try:
            found.append(await read_body(request, limit, room or UploadBudget(100), patience or BodyTimeouts()))
        except ApiError as error:
            found.append(error)
        return ""

    async def receive() -> Any:
        if not left:
            await asyncio.Future[Any]()
        await asyncio.sleep(0)  # as a socket does, so that a time-out may come between two messages
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


def test_invariant_15_a_body_past_the_limit_is_refused_while_it_comes() -> None:
    with pytest.raises(ApiError) as refused:
        read(part(b"x" * 60, more=True), part(b"x" * 60, more=True))
    assert (refused.value.status, refused.value.code) == (413, "body_too_large")


def test_regression_an_upload_that_is_dropped_is_no_error_of_the_server() -> None:
    with pytest.raises(ApiError) as refused:
        read(part(b"[1,", more=True), {"type": "http.disconnect"})
    assert (refused.value.status, refused.value.code) == (400, "incomplete_body")


LIMIT = 8 * 1024 * 1024
ALMOST = b" " * (LIMIT - 1024)
PING = b'{"rider_id": "anna", "latitude": 52.5, "longitude": 13.4, "event_timestamp_ms": 1700000000000}'


class Door:
    """``POST /pings`` of one process, before an event store that records everything at once."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, int]] = []
        route = pings_route(
            self._submit,
            max_items=10_000,
            max_bytes=LIMIT,
            count=lambda _answer: None,
            seen=lambda _device, _ingest: None,
            refused=lambda why, pings: self.refused.append((why, pings)),
        )
        self.app = Litestar([route], request_max_body_size=None, exception_handlers=HANDLERS, openapi_config=None)

    @staticmethod
    async def _submit(pings: Sequence[GpsPing]) -> list[PingOutcome]:
        return [PingOutcome(position=1, is_new=True) for _ in pings]

    async def post(self, body: bytes, declared: int | None = None) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, answer and headers."""
        upload = Upload(self, declared)
        await upload.send(part(body, more=False))
        await upload.ended
        return upload.answer()


class Upload:
    """One request whose body comes as the test sends it."""

    def __init__(self, door: Door, declared: int | None = None) -> None:
        self._coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._read = asyncio.Event()
        self._said: list[Any] = []
        headers = [] if declared is None else [(b"content-length", str(declared).encode())]
        scope: Any = {"type": "http", "method": "POST", "path": "/pings", "headers": headers, "query_string": b""}
        self.ended = asyncio.ensure_future(door.app(scope, self._receive, self._say))

    async def send(self, message: dict[str, Any]) -> None:
        """Returns once it is read and more is asked for, or the request has ended."""
        self._read.clear()
        self._coming.put_nowait(message)
        asked = asyncio.ensure_future(self._read.wait())
        await asyncio.wait({asked, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()

    def answer(self) -> tuple[int, dict[str, Any], dict[str, str]]:
        start, *rest = self._said
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], json.loads(b"".join(one.get("body", b"") for one in rest)), headers

    async def _receive(self) -> Any:
        if self._coming.empty():
            self._read.set()
        return await self._coming.get()

    async def _say(self, message: Any) -> None:
        self._said.append(message)


@asynccontextmanager
async def full(door: Door) -> AsyncIterator[list[Upload]]:
    """As many uploads under way as there is room for."""
    uploads = [Upload(door) for _ in range(MOST_BYTES_AT_ONCE // LIMIT)]
    for upload in uploads:
        await upload.send(part(ALMOST, more=True))
        assert not upload.ended.done()
    yield uploads
    for upload in uploads:
        if not upload.ended.done():
            await upload.send({"type": "http.disconnect"})
            await upload.ended


def test_invariant_15_bodies_that_are_read_at_once_are_bounded_in_sum() -> None:
    async def story() -> None:
        door = Door()
        async with full(door) as uploads:
            # By what it declares, before any of it is read; and by what comes.
            for declared in (LIMIT, None):
                status, answer, headers = await door.post(ALMOST, declared)
                assert (status, answer["code"], headers["retry-after"]) == (503, "uploads_full", "1")
                assert "nothing was recorded" in answer["detail"]
            assert door.refused == [("uploads_full", 1)] * 2
            status, answer, _ = await door.post(PING)
            assert (status, answer["accepted"]) == (200, 1), "a phone's own batch is small"
            await uploads[0].send(part(PING, more=False))
            await uploads[0].ended
            assert uploads[0].answer()[0] == 200
            assert (await door.post(ALMOST + PING))[0] == 200, "one has ended: there is room for another"

    asyncio.run(story())


async def whole(upload: Upload) -> None:
    await upload.send(part(PING, more=False))
    assert upload.answer()[0] == 200


async def broken(upload: Upload) -> None:
    await upload.send(part(b"[", more=False))
    assert upload.answer()[1]["code"] == "malformed_json"


async def too_large(upload: Upload) -> None:
    await upload.send(part(ALMOST, more=True))
    assert upload.answer()[1]["code"] == "body_too_large"


async def dropped(upload: Upload) -> None:
    await upload.send({"type": "http.disconnect"})
    assert upload.answer()[1]["code"] == "incomplete_body"


async def cancelled(upload: Upload) -> None:
    upload.ended.cancel()
    await asyncio.wait({upload.ended})


@pytest.mark.parametrize("end", [whole, broken, too_large, dropped, cancelled])
def test_invariant_15_whatever_ends_an_upload_makes_room(end: Callable[[Upload], Awaitable[None]]) -> None:
    async def story() -> None:
        door = Door()
        async with full(door) as uploads:
            for upload in uploads:
                await end(upload)
                assert upload.ended.done()
        async with full(door):
            assert (await door.post(ALMOST, LIMIT))[0] == 503

    asyncio.run(story())


def test_one_body_passes_whatever_its_limit_is_set_to() -> None:
    assert read(part(b"x" * 60, more=True), part(b"x" * 40, more=False), room=UploadBudget(50)) == b"x" * 100


def test_an_upload_that_stalls_is_ended_and_makes_room() -> None:
    """A phone that has lost its network says nothing more: what it has sent would be held for ever."""
    room = UploadBudget(100)
    with pytest.raises(ApiError) as refused:
        read(part(b"[1,", more=True), room=room, patience=BodyTimeouts(stalled_s=0.01))
    assert (refused.value.status, refused.value.code) == (408, "body_stalled")
    assert room.held == 0


def test_invariant_15_a_body_that_comes_byte_by_byte_is_given_up() -> None:
    """Each byte within the time that a silent connection has; held together, for ever."""
    room = UploadBudget(100)
    drip = [part(b"x", more=True)] * 1_000_000
    with pytest.raises(ApiError) as refused:
        read(*drip, room=room, patience=BodyTimeouts(stalled_s=600.0, whole_s=0.05), limit=len(drip))
    assert (refused.value.status, refused.value.code) == (408, "body_stalled")
    assert room.held == 0
