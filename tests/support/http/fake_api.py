"""A fake ``POST /pings`` and ``POST /deliveries…`` over real HTTP: it stores in dicts and fails on request."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import msgspec

from domain.errors import PingRejected
from domain.gps_ping import GpsPing, parse_ping
from infrastructure.http.request_body import decode_json
from tests.support.http.fake_deliveries import Answered, FakeDeliveries
from tests.support.time_limits import scaled_s


class Fault(Enum):
    """The fault that one request meets."""

    BUSY = "answers 503 and records nothing"
    DROPPED_BEFORE = "drops the connection before it records anything"
    DROPPED_AFTER = "records all and drops the connection before it answers"
    CUT_SHORT = "records all and drops the connection in mid-answer"
    BROKEN = "answers 500"
    FORBIDDEN = "answers 403"
    STRANGER = "answers with something that is not ridelog's"


class FakeApi:
    """``faults``: each of the next requests meets one. ``pings``: identity -> recorded ping."""

    def __init__(self, url: str, max_items: int) -> None:
        self.url = url
        self.max_items = max_items
        self.faults: deque[Fault] = deque()
        self.pings: dict[tuple[str, int, str], GpsPing] = {}
        self.requests: list[int] = []
        """The number of pings of each request, also of failed ones."""
        self.deliveries = FakeDeliveries()
        self.tokens: set[str | None] = set()
        self.lock = threading.Lock()

    def record(self, items: list[Any]) -> dict[str, Any]:
        rejected: list[dict[str, Any]] = []
        accepted = duplicates = 0
        for index, item in enumerate(items):
            try:
                ping = parse_ping(item, time.time_ns() // 1_000_000)
            except PingRejected as error:
                rejected.append({"index": index, "code": error.code, "detail": str(error)})
                continue
            known = self.pings.setdefault(ping.identity, ping)
            accepted += known is ping
            duplicates += known is not ping
        position = len(self.pings) or None
        return {"accepted": accepted, "duplicates": duplicates, "rejected": rejected, "position": position}


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            items = decode_json(self.rfile.read(int(self.headers["content-length"])))
            is_command = self.path.startswith("/deliveries")
            with api.lock:
                if not is_command:
                    api.requests.append(len(items))
                api.tokens.add(self.headers.get("authorization"))
                fault = api.faults.popleft() if api.faults else None
                if fault is Fault.DROPPED_BEFORE:
                    self.close_connection = True
                    return
                refusal = {Fault.BUSY: 503, Fault.BROKEN: 500, Fault.FORBIDDEN: 403}.get(fault) if fault else None
                if refusal is None and not is_command and len(items) > api.max_items:
                    refusal = 413
                if refusal is not None:
                    self._answer(refusal, {"code": "fault", "detail": fault.value if fault else "too many"})
                    return
                if fault is Fault.STRANGER:
                    self._answer(200, {"hello": "world", "accepted": 0})
                    return
                status, answer = self._command(items) if is_command else Answered(200, api.record(items))
            if fault is Fault.DROPPED_AFTER:
                self.close_connection = True
            else:
                self._answer(status, answer, cut=fault is Fault.CUT_SHORT)

        def _command(self, body: dict[str, Any]) -> Answered:
            key, (_, _, *rest) = self.headers.get("idempotency-key"), self.path.split("/")
            if not rest:
                return api.deliveries.place(body, key)
            return api.deliveries.step(unquote(rest[0]), rest[1], body, key)

        def _answer(self, status: int, value: dict[str, Any], *, cut: bool = False) -> None:
            body = msgspec.json.encode(value)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            if status == 503:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """Log nothing: a failed test reports what it saw."""

    return Handler


@contextmanager
def fake_api(*faults: Fault, max_items: int = 10_000) -> Iterator[FakeApi]:
    """A running fake API whose first requests meet these faults."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    api = FakeApi(f"http://127.0.0.1:{server.server_address[1]}", max_items)
    api.faults.extend(faults)
    server.RequestHandlerClass = _handler(api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join(timeout=scaled_s(10))
        server.server_close()
