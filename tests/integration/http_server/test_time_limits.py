"""The HTTP server bounds how long a client may be silent, send a head, or take for reading a response."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, suppress
from threading import Event
from typing import Any

from litestar import Response, get
from litestar.response import Stream

from infrastructure.http_server.connections import ConnectionLimits
from tests.support.http.recording_api import RecordingApi, next_answer
from tests.support.http.wire import Wire
from tests.support.http.wire_cases import HOST, LIVE, head
from tests.support.servers.http_server import running_server, served
from tests.support.waiting import eventually

SHORT = ConnectionLimits(head_timeout_s=0.5, idle_timeout_s=1.0, discard_timeout_s=0.5, stall_timeout_s=0.5)


def test_regression_silent_connections_are_closed() -> None:
    """300 silent connections stayed open for ever."""
    with served(RecordingApi().application(), SHORT) as url, ExitStack() as stack:
        silent = [stack.enter_context(Wire(url)) for _ in range(300)]
        with Wire(url) as other:
            assert next_answer(other.send(LIVE)).status == 200
        assert [wire.answer() for wire in silent] == [None] * 300


def test_a_head_has_a_time_limit_however_often_a_byte_arrives() -> None:
    with served(RecordingApi().application(), SHORT) as url, Wire(url) as wire:
        wire.send(LIVE[:-2])
        with suppress(OSError):  # until the server closes
            for _ in range(100_000):
                wire.send(b"X", b"")  # the second, empty, waits for a whole request of another connection
        answer = wire.answer()
    assert answer is None or (answer.status, b"headers_stalled" in answer.body) == (408, True)


def test_a_head_that_stops_gets_an_answer() -> None:
    with served(RecordingApi().application(), SHORT) as url, Wire(url) as wire:
        answer = next_answer(wire.send(LIVE[:-2]))
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert b"headers_stalled" in answer.body
        assert wire.answer() is None


def test_an_idle_connection_is_closed_and_a_used_one_is_not() -> None:
    with served(RecordingApi().application(), SHORT) as url, Wire(url) as wire:
        # Requests one after the other, for longer than a connection may be idle.
        began = time.monotonic()
        while time.monotonic() - began < 1.5 * SHORT.idle_timeout_s:
            assert next_answer(wire.send(LIVE)).status == 200
        assert wire.answer() is None


def test_the_rest_of_a_refused_body_has_a_time_limit() -> None:
    with served(RecordingApi().application(), SHORT) as url, Wire(url) as wire:
        answer = next_answer(wire.send(head(b"", 99_999_999) + b"[" * 1000))
        assert answer.status == 413
        assert wire.answer() is None, "the rest of the body did not arrive"


def test_a_client_that_does_not_read_its_response_is_dropped() -> None:
    """Otherwise its response and its connection would be held for ever."""

    @get("/large")
    async def large() -> Response[bytes]:
        return Response(bytes(32 * 1024 * 1024), media_type="application/octet-stream")

    with running_server(RecordingApi().application(large), SHORT) as (url, server), Wire(url) as wire:
        wire.send(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        eventually(lambda: server.server_state.total_requests == 1, what="the response is written")
        assert len(server.server_state.connections) == 1
        eventually(lambda: not server.server_state.connections, what="the connection is dropped")


def test_a_client_that_reads_slowly_gets_all_of_its_response() -> None:
    size = 64 * 1024 * 1024
    limits = SHORT._replace(stall_timeout_s=2.0)

    @get("/large")
    async def large() -> Response[bytes]:
        return Response(bytes(size), media_type="application/octet-stream")

    with served(RecordingApi().application(large), limits) as url, Wire(url) as wire:
        wire.send(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        # Reads 64 KiB at a time, which takes longer than each limit in all.
        pause = Event()
        began = time.monotonic()
        answer = wire.answer(before_each_read=lambda: pause.wait(0.003))
        assert time.monotonic() - began > max(limits.stall_timeout_s, limits.idle_timeout_s)
    assert answer is not None
    assert len(answer.body) == size


def test_a_stream_of_events_outlasts_the_idle_limit() -> None:
    """The limit is for connections without a request. A response in progress has no limit."""

    @get("/stream")
    async def stream() -> Stream:
        async def events() -> Any:
            for number in range(4):
                yield f"data: {number}\n\n"
                await asyncio.sleep(SHORT.idle_timeout_s / 2)

        return Stream(events())

    with served(RecordingApi().application(stream), SHORT) as url, Wire(url) as wire:
        answer = next_answer(wire.send(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n"))
    assert answer.body.count(b"data:") == 4
