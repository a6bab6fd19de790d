"""The HTTP server bounds its open connections: one too many gets a 503 or replaces an idle one."""

from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import ExitStack, suppress

from infrastructure.http_server.connections import (
    OVERFLOW_CONNECTIONS,
    RESERVED_FILES,
    ConnectionLimits,
    Connections,
    ConnectionSlot,
    connections_within,
)
from tests.support.http.recording_api import RecordingApi, next_answer
from tests.support.http.wire import Wire
from tests.support.http.wire_cases import LIVE, post
from tests.support.servers.http_server import served


def test_connections_above_the_bound_get_503() -> None:
    limits = ConnectionLimits(max_connections=5, evict_after_s=60.0)
    api = RecordingApi()
    with served(api.application(), limits) as url, ExitStack() as stack:
        held = [stack.enter_context(Wire(url)) for _ in range(5)]
        for wire in held:
            wire.send(LIVE)
            assert next_answer(wire).status == 200
        with Wire(url) as one_too_many:
            answer = next_answer(one_too_many.send(post()))
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert b"too_many_connections" in answer.body
            assert one_too_many.answer() is None
        assert api.recorded == []
        assert next_answer(held[0].send(LIVE)).status == 200, "the earlier connections are served"
        held[1].finish()
        assert held[1].answer() is None
        with Wire(url) as another:
            assert next_answer(another.send(LIVE)).status == 200, "a connection has ended, so another one is served"


def test_far_above_the_bound_connections_are_closed_at_once() -> None:
    limits = ConnectionLimits(max_connections=2, evict_after_s=60.0)
    with served(RecordingApi().application(), limits) as url, ExitStack() as stack:
        for _ in range(2 + OVERFLOW_CONNECTIONS):
            stack.enter_context(Wire(url))
        with Wire(url) as wire, suppress(BrokenPipeError):  # closed before the request was sent
            assert wire.send(LIVE).answer() is None


def test_regression_silent_connections_exclude_no_other_client() -> None:
    """1,024 sockets did. At the bound a new connection replaces the one that has been idle longest."""
    with (
        served(RecordingApi().application(), ConnectionLimits(max_connections=50, evict_after_s=0.0)) as url,
        ExitStack() as stack,
    ):
        for _ in range(200):
            stack.enter_context(Wire(url))
        with Wire(url) as other:
            assert next_answer(other.send(LIVE)).status == 200


class IdleConnection:
    def __init__(self) -> None:
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True


def test_the_longest_idle_connection_is_evicted_and_a_busy_one_never() -> None:
    now = 100.0
    one = Connections(ConnectionLimits(max_connections=2, evict_after_s=1.0), clock=lambda: now)
    first, second, third = IdleConnection(), IdleConnection(), IdleConnection()
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
    """With the usual limit of 1,024, as many sockets of one client excluded all others."""
    program = (
        "import resource, socket\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "from infrastructure.http_server.connections import raise_open_files\n"
        "print(raise_open_files(2000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert found == [str(min(2000, hard) if hard != resource.RLIM_INFINITY else 2000)] * 2


def test_the_bound_on_connections_reserves_files_for_everything_else() -> None:
    assert connections_within(20_000, 4_096) == 4_096
    assert connections_within(1_024, 4_096) == 1_024 - RESERVED_FILES - OVERFLOW_CONNECTIONS
    assert connections_within(100, 4_096) == 1
