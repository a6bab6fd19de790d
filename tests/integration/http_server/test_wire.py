"""The HTTP server as it is seen by clients that speak raw HTTP/1.1: other languages, proxies, attackers."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from threading import Event
from typing import Any, cast

import pytest
from litestar import Litestar, Response, get
from litestar.response import Stream

from domain.gps_ping import GpsPing
from domain.riders.application import PingOutcome
from infrastructure.http.application import ApiParts, build
from infrastructure.http_server.connections import (
    OVERFLOW_CONNECTIONS,
    RESERVED_FILES,
    ConnectionLimits,
    Connections,
    ConnectionSlot,
    connections_within,
)
from infrastructure.settings.settings import Settings
from tests.support.http.wire import Answer, Wire
from tests.support.http.wire_cases import (
    CASES,
    H2C,
    HOST,
    LIVE,
    PING,
    TE,
    TLS,
    WEBSOCKET,
    WireCase,
    chunked,
    head,
    post,
)
from tests.support.servers.http_server import served, serving
from tests.support.waiting import eventually

recorded: list[GpsPing] = []


async def submit(pings: Sequence[GpsPing]) -> list[PingOutcome]:
    recorded.extend(pings)
    return [PingOutcome(position, is_new=True) for position, _ in enumerate(pings, start=1)]


async def nothing() -> None:
    """No gauge needs a refresh."""


def api(*more: Any) -> Litestar:
    """The API with further routes, and an event store that records everything at once."""
    absent = cast("Any", None)  # no test here reads a speed
    application = build(Settings(), ApiParts(submit, absent, absent, lambda: None, lambda _read: None, {}, nothing))
    for route in more:
        application.register(route)
    return application


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(api()) as one:
        yield one


@pytest.fixture(autouse=True)
def forget() -> None:
    recorded.clear()


def next_answer(wire: Wire, asked_100: bool = False) -> Answer:
    answer = wire.answer()
    if answer is not None and answer.status == 100 and not asked_100:
        answer = wire.answer()
    assert answer is not None, "the server has closed"
    return answer


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_request_gets_its_right_answers(url: str, case: WireCase) -> None:
    with Wire(url) as wire:
        wire.send(*case.segments)
        for right in case.right:
            answer = next_answer(wire, asked_100=100 in right)
            assert answer.status in right, answer
            if answer.status >= 400:
                assert b'"code"' in answer.body, "an error has the form of all others"
        if case.stays:
            after = wire.send(LIVE).answer()
            assert after is not None
            assert (after.status, after.body) == (200, b'{"status":"live"}')
        elif case.stays is not None:
            assert wire.answer() is None


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET, TLS], ids=["h2c", "websocket", "tls"])
def test_regression_a_post_that_offers_an_upgrade_is_recorded(url: str, offer: bytes) -> None:
    """Java's HttpClient offers h2c on each POST; its body was lost, and where it came later, a second request."""
    with Wire(url) as wire:
        for segments in ((post(offer),), (head(offer, len(PING)), PING), (head(offer + TE), chunked(PING))):
            answer = wire.send(*segments).answer()
            assert answer is not None
            assert b'"accepted":1' in answer.body
    assert len(recorded) == 3


def test_a_trailer_changes_no_header_of_a_request_under_way(url: str) -> None:
    with Wire(url) as wire:
        trailer = b"Content-Encoding: br\r\nAuthorization: Bearer x\r\n"
        answer = wire.send(head(TE), chunked(PING, trailer)).answer()
    assert answer is not None
    assert answer.status == 200


def test_an_error_waits_for_the_answers_to_the_requests_before_it(url: str) -> None:
    with Wire(url) as wire:
        found = wire.send(post() + LIVE + b"\x00\r\n\r\n").answers()
    assert [answer.status for answer in found] == [200, 200, 400]
    assert b'"accepted":1' in found[0].body


def test_an_error_within_a_body_answers_the_request_that_it_belongs_to(url: str) -> None:
    """Without the refusal the handler would wait for the rest of the body, 30 s."""
    began = time.monotonic()
    with Wire(url) as wire:
        found = wire.send(head(TE), b"5\r\nabcde\r\nxyz\r\n").answers()
    assert [answer.status for answer in found] == [400]
    assert b"malformed_request" in found[0].body
    assert time.monotonic() - began < 10
    assert recorded == []


SHORT = ConnectionLimits(head_timeout_s=0.5, idle_timeout_s=1.0, discard_timeout_s=0.5, stall_timeout_s=0.5)


def test_regression_silent_connections_are_closed() -> None:
    """300 of them stayed open for ever."""
    with served(api(), SHORT) as url, ExitStack() as stack:
        silent = [stack.enter_context(Wire(url)) for _ in range(300)]
        with Wire(url) as other:
            assert next_answer(other.send(LIVE)).status == 200
        assert [wire.answer() for wire in silent] == [None] * 300


def test_a_head_has_a_time_limit_however_often_a_byte_comes() -> None:
    with served(api(), SHORT) as url, Wire(url) as wire:
        wire.send(LIVE[:-2])
        with suppress(OSError):  # until the server closes
            for _ in range(100_000):
                wire.send(b"X", b"")  # the second, empty, waits for a whole request of another connection
        answer = wire.answer()
    assert answer is None or (answer.status, b"headers_stalled" in answer.body) == (408, True)


def test_a_head_that_stops_gets_an_answer() -> None:
    with served(api(), SHORT) as url, Wire(url) as wire:
        answer = next_answer(wire.send(LIVE[:-2]))
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert b"headers_stalled" in answer.body
        assert wire.answer() is None


def test_an_idle_connection_is_closed_and_a_used_one_is_not() -> None:
    with served(api(), SHORT) as url, Wire(url) as wire:
        for _ in range(3):
            assert next_answer(wire.send(LIVE)).status == 200
        assert wire.answer() is None


def test_the_rest_of_a_refused_body_has_a_time_limit() -> None:
    with served(api(), SHORT) as url, Wire(url) as wire:
        answer = next_answer(wire.send(head(b"", 99_999_999) + b"[" * 1000))
        assert answer.status == 413
        assert wire.answer() is None, "nothing more came of the body"


def test_a_client_that_sends_all_of_a_refused_body_reads_the_refusal(url: str) -> None:
    """Closed with unread data, a socket is reset, and the client loses the answer."""
    size = 20 * 1024 * 1024
    with Wire(url) as wire:
        wire.send(head(b"", size) + b" " * size)
        assert next_answer(wire).status == 413
        assert next_answer(wire.send(LIVE)).status == 200, "all was read: the connection goes on"


def test_regression_a_header_of_69_mb_stops_no_other_request(url: str) -> None:
    """It took 38 s, in which nothing else was answered; and its sender can read why it is refused."""
    sender = (
        "import socket, sys\n"
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nX: ')\n"
        "try:\n"
        "    for _ in range(69 * 16): s.sendall(b'x' * 65536)\n"
        "except OSError: pass\n"
        "print(s.recv(100).split(b' ')[1].decode())\n"
    )
    other = subprocess.Popen([sys.executable, "-c", sender, url.rpartition(":")[2]], stdout=subprocess.PIPE)
    slowest = 0.0
    while other.poll() is None:
        began = time.monotonic()
        with Wire(url) as wire:
            assert next_answer(wire.send(LIVE)).status == 200
        slowest = max(slowest, time.monotonic() - began)
    assert other.communicate()[0].strip() == b"431"
    assert slowest < 2.0


def test_connections_above_the_bound_get_503() -> None:
    limits = ConnectionLimits(max_connections=5, evict_after_s=60.0)
    with served(api(), limits) as url, ExitStack() as stack:
        held = [stack.enter_context(Wire(url)) for _ in range(5)]
        for wire in held:
            wire.send(LIVE)
            assert next_answer(wire).status == 200
        with Wire(url) as one_too_many:
            answer = next_answer(one_too_many.send(post()))
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert b"too_many_connections" in answer.body
            assert one_too_many.answer() is None
        assert recorded == []
        assert next_answer(held[0].send(LIVE)).status == 200, "those that were there are served"
        held[1].finish()
        assert held[1].answer() is None
        with Wire(url) as another:
            assert next_answer(another.send(LIVE)).status == 200, "there is room again"


def test_far_above_the_bound_connections_are_closed_at_once() -> None:
    limits = ConnectionLimits(max_connections=2, evict_after_s=60.0)
    with served(api(), limits) as url, ExitStack() as stack:
        for _ in range(2 + OVERFLOW_CONNECTIONS):
            stack.enter_context(Wire(url))
        with Wire(url) as wire, suppress(BrokenPipeError):  # closed before the request had left
            assert wire.send(LIVE).answer() is None


def test_regression_silent_connections_shut_out_no_other_client() -> None:
    """1,024 sockets did: at the bound the longest idle one makes room."""
    with served(api(), ConnectionLimits(max_connections=50, evict_after_s=0.0)) as url, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(Wire(url))
        with Wire(url) as other:
            assert next_answer(other.send(LIVE)).status == 200


class Idle:
    def __init__(self) -> None:
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True


def test_the_longest_idle_connection_makes_room_and_a_busy_one_never() -> None:
    now = 100.0
    one = Connections(ConnectionLimits(max_connections=2, evict_after_s=1.0), clock=lambda: now)
    first, second, third = Idle(), Idle(), Idle()
    assert [one.enter(first, 1), one.enter(second, 2)] == [ConnectionSlot.SERVED] * 2
    one.set_busy(first)
    assert one.enter(third, 3) is ConnectionSlot.REFUSED, "the second is not idle for so long"
    now += 1.0
    assert one.enter(third, 3) is ConnectionSlot.SERVED
    assert (first.evicted, second.evicted) == (False, True)
    one.set_idle(first)
    now += 0.5
    one.set_idle(third)
    now += 0.5
    assert one.enter(second, 3) is ConnectionSlot.SERVED
    assert (first.evicted, third.evicted) == (True, False)


def test_the_soft_limit_on_open_files_is_raised() -> None:
    """With the usual 1,024, as many sockets of one client shut out all others."""
    program = (
        "import resource, socket\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "from infrastructure.http_server.connections import raise_open_files\n"
        "print(raise_open_files(2000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert found == [str(min(2000, hard) if hard != resource.RLIM_INFINITY else 2000)] * 2


def test_the_bound_on_connections_leaves_files_for_the_rest() -> None:
    assert connections_within(20_000, 4_096) == 4_096
    assert connections_within(1_024, 4_096) == 1_024 - RESERVED_FILES - OVERFLOW_CONNECTIONS
    assert connections_within(100, 4_096) == 1


def test_a_client_that_does_not_read_its_response_is_dropped() -> None:
    """Its response and its connection would be held without end."""

    @get("/large")
    async def large() -> Response[bytes]:
        return Response(bytes(32 * 1024 * 1024), media_type="application/octet-stream")

    with serving(api(large), SHORT) as (url, server), Wire(url) as wire:
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

    with served(api(large), limits) as url, Wire(url) as wire:
        wire.send(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        # 64 KiB at a time: in all it takes longer than each limit.
        pause = Event()
        began = time.monotonic()
        answer = wire.answer(before_each_read=lambda: pause.wait(0.003))
        assert time.monotonic() - began > max(limits.stall_timeout_s, limits.idle_timeout_s)
    assert answer is not None
    assert len(answer.body) == size


def test_a_stream_of_events_outlasts_the_idle_limit() -> None:
    """The limit is for connections without a request; a response that goes on has none."""

    @get("/stream")
    async def stream() -> Stream:
        async def events() -> Any:
            for number in range(4):
                yield f"data: {number}\n\n"
                await asyncio.sleep(SHORT.idle_timeout_s / 2)

        return Stream(events())

    with served(api(stream), SHORT) as url, Wire(url) as wire:
        answer = next_answer(wire.send(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n"))
    assert answer.body.count(b"data:") == 4
