"""The head of a response goes out with its body, and alone where no body follows at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from litestar import get
from litestar.response import Stream

from tests.support.http.recording_api import RecordingApi, next_answer
from tests.support.http.wire import Wire
from tests.support.http.wire_cases import HOST, LIVE
from tests.support.servers.http_server import served


def test_regression_an_answer_to_head_is_sent_although_no_body_is_written() -> None:
    with served(RecordingApi().application()) as url, Wire(url) as wire:
        answer = wire.send(b"HEAD" + LIVE[3:]).answer(to_head=True)
        assert answer is not None
        assert (answer.status, answer.headers["content-length"]) == (200, str(len(b'{"status":"live"}')))
        assert next_answer(wire.send(LIVE)).body == b'{"status":"live"}'


def test_the_head_of_a_stream_is_sent_before_its_first_part() -> None:
    first_part_may_come = asyncio.Event()

    @get("/stream")
    async def stream() -> Stream:
        async def events() -> AsyncIterator[str]:
            await first_part_may_come.wait()
            yield "data: 1\n\n"

        return Stream(events())

    @get("/go-on")
    async def go_on() -> None:
        first_part_may_come.set()

    with served(RecordingApi().application(stream, go_on)) as url, Wire(url) as wire, Wire(url) as other:
        head = wire.send(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n").answer(to_head=True)
        assert head is not None
        assert head.status == 200
        assert next_answer(other.send(b"GET /go-on HTTP/1.1\r\n" + HOST + b"\r\n")).status == 200


def test_pipelined_requests_get_their_answers_in_order() -> None:
    with served(RecordingApi().application()) as url, Wire(url) as wire:
        wire.send(LIVE + b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n" + LIVE)
        assert [next_answer(wire).status for _ in range(3)] == [200, 404, 200]
