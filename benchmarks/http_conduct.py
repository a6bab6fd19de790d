"""What an HTTP server does with the cases of ``wire_cases``, with a huge header and with many open connections."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import ExitStack

from tests.support.http.wire import Wire
from tests.support.http.wire_cases import CASES, LIVE, WireCase

HEADER_BYTES = 69 * 1024 * 1024


def verdict(url: str, case: WireCase) -> str:
    """An empty string if the server answers ``case`` correctly, else what it did."""
    statuses: list[int] = []
    try:
        with Wire(url, timeout_s=2.0) as wire:
            wire.send(*case.segments)
            for right in case.right:
                answer = wire.answer()
                if answer is not None and answer.status == 100 and 100 not in right:
                    answer = wire.answer()
                if answer is None:
                    return f"{statuses}, then closed"
                statuses.append(answer.status)
                if answer.status not in right:
                    return f"{statuses}: {answer.body[:60]!r}"
            if case.stays is None:
                return ""
            if case.stays:
                after = wire.send(LIVE).answer()
                alive = after is not None and after.status == 200 and b"live" in after.body
                return "" if alive else f"{statuses}, then {after}"
            after = wire.answer()
            return "" if after is None else f"{statuses}, then {after.status}"
    except TimeoutError:
        return f"{statuses}, then nothing for 2 s"
    except (AssertionError, OSError) as error:
        return f"{statuses}, then {error}"


def wrong(url: str) -> dict[str, str]:
    """The cases that the server answers wrongly, with what it did."""
    return {case.name: found for case in CASES if (found := verdict(url, case))}


def slowest_get_ms(url: str, seconds: float) -> float:
    """The slowest of consecutive GETs, each on its own connection."""
    slowest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            with Wire(url, timeout_s=10) as other:
                other.send(LIVE).answer()
        except (OSError, AssertionError):
            return float("inf")
        slowest = max(slowest, (time.perf_counter() - began) * 1e3)
    return slowest


def get_during_large_header(url: str) -> float:
    """The slowest GET in ms while another client sends a header of HEADER_BYTES."""
    code = (
        "import socket,sys\n"
        "s=socket.create_connection(('127.0.0.1',int(sys.argv[1])),60)\n"
        "try:\n"
        " s.sendall(b'GET /health/live HTTP/1.1\\r\\nHost: localhost\\r\\nX: ')\n"
        f" for _ in range({HEADER_BYTES // 65536}): s.sendall(b'x'*65536)\n"
        " s.recv(10)\n"
        "except OSError: pass\n"
    )
    sender = subprocess.Popen([sys.executable, "-c", code, url.rpartition(":")[2]])
    try:
        return slowest_get_ms(url, 3.0)
    finally:
        sender.kill()
        sender.wait()


def still_open(url: str, count: int, seconds: float) -> tuple[int, float]:
    """How many of ``count`` silent connections are open after ``seconds``, and the slowest GET in ms meanwhile."""
    port = int(url.rpartition(":")[2])
    with ExitStack() as stack:
        silent: list[socket.socket] = []
        for _ in range(count):
            try:
                silent.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 2)))
            except OSError:
                break
        slowest = slowest_get_ms(url, 1.0)
        time.sleep(seconds)
        left = 0
        for one in silent:
            one.setblocking(False)
            try:
                left += one.recv(1) != b""
            except BlockingIOError:
                left += 1
            except OSError:
                pass
        return left, slowest
