"""A payment provider over real HTTP that honours the idempotency key, and can fail in every way that one does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from infrastructure.payments.webhook import signature
from infrastructure.settings.payment_provider import secret_bytes

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAX_CLOCK_DIFFERENCE_S = 300


class ProviderFault(NamedTuple):
    """How one request goes wrong. ``recorded``: the provider has booked it. ``status`` 0: the connection breaks."""

    recorded: bool
    status: int
    headers: tuple[tuple[str, str], ...] = ()


Choose = Callable[[dict[str, Any]], ProviderFault | None]
"""The fault of a request, by its body; None: it is booked and answered with 200."""


class FakeProvider:
    """``ledger``: bodies in the order in which they were booked, one a key. ``requests``: how many came.

    ``choose`` may be replaced at any time. A request with a bad signature is an error of the test.
    """

    def __init__(self) -> None:
        self.ledger: list[dict[str, Any]] = []
        self.requests = 0
        self.most_at_once = 0
        self.errors: list[str] = []
        self.choose: Choose = lambda body: None
        self.delay_s = 0.0
        self._booked: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._at_once = 0

    def of(self, rider_id: str) -> list[dict[str, Any]]:
        with self._lock:
            return [body for body in self.ledger if body["rider_id"] == rider_id]

    def keys(self) -> list[str]:
        with self._lock:
            return [body["entry_id"] for body in self.ledger]

    def take(self, headers: dict[str, str], raw: bytes) -> ProviderFault:
        """Handle one request; the answer."""
        with self._lock:
            self.requests += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.delay_s)
            return self._taken(headers, raw)
        finally:
            with self._lock:
                self._at_once -= 1

    def _taken(self, headers: dict[str, str], raw: bytes) -> ProviderFault:
        key, body, sent_s = headers["idempotency-key"], json.loads(raw), int(headers["webhook-timestamp"])
        signed = signature(secret_bytes(SECRET), headers["webhook-id"], sent_s, raw)
        if headers["webhook-signature"] != signed or abs(time.time() - sent_s) > MAX_CLOCK_DIFFERENCE_S:
            self.errors.append(f"a bad signature of {key}")
        if key != body["entry_id"]:
            self.errors.append(f"{key} is not the key of {body}")
        fault = self.choose(body)
        if fault is not None and not fault.recorded:
            return fault
        with self._lock:
            before = self._booked.setdefault(key, raw)
            if before is raw:
                self.ledger.append(body)
            elif before != raw:
                self.errors.append(f"{key} came with two bodies")
        if fault is not None:
            return fault
        return ProviderFault(True, 200)


class _ProviderHandler(BaseHTTPRequestHandler):
    provider: FakeProvider

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        answer = self.provider.take({name.lower(): value for name, value in self.headers.items()}, raw)
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_args: Any) -> None:
        """Says nothing."""


@contextmanager
def fake_provider() -> Iterator[tuple[FakeProvider, str]]:
    """The provider and the address to hand payments over to."""
    provider = FakeProvider()
    handler = type("Handler", (_ProviderHandler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider, f"http://127.0.0.1:{server.server_address[1]}/payouts"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
