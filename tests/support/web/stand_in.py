"""A server in front of a ridelog that answers the page's stream itself, so that a test decides what comes and when.

Every other request is passed on, with its Host, as a proxy does; ``mute`` lets all of them wait without an answer.
"""

from __future__ import annotations

import http.client
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

WAIT_S: Final = 60.0
_HOP_HEADERS: Final = {"connection", "transfer-encoding", "keep-alive"}


def message(kind: str, **data: Any) -> bytes:
    """A message of ``/live`` with riders and orders, none by default."""
    body = {"at_ms": 1, "riders": [], "orders": [], **data}
    return f"event: {kind}\ndata: {json.dumps(body)}\n\n".encode()


class LiveConnection:
    """One open stream of the page. Nothing is sent on it but what the test sends."""

    def __init__(self) -> None:
        self._to_send: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.left = threading.Event()
        """Set when the page was seen to have closed its end."""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._to_send.put(data)

    def end(self) -> None:
        """Close the connection."""
        self._to_send.put(None)

    def run(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer the request, until it is ended here or there."""
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.send_header("Connection", "close")
        handler.end_headers()
        threading.Thread(target=self._watch, args=(handler.connection,), daemon=True).start()
        while (data := self._to_send.get()) is not None:
            with suppress(OSError):  # the page has closed its end
                handler.wfile.write(data)
                handler.wfile.flush()
        handler.close_connection = True

    def _watch(self, connection: Any) -> None:
        # A page sends nothing after its request, so what ends the read is its end.
        with suppress(OSError):
            connection.recv(1)
        self.left.set()
        self.end()


class StandIn:
    """Where the page is opened.

    ``refusal``: the answer to a stream, instead of one: status, code and detail. ``whole_map``: the JSON that a read of
    the whole map is answered with; None: what the ridelog answers.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._connections: queue.SimpleQueue[LiveConnection] = queue.SimpleQueue()
        self._answering = threading.Event()
        self._answering.set()
        self.refusal: tuple[int, str, str] | None = None
        self.whole_map: Any = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stream(self) -> LiveConnection:
        """The next stream that the page opens, or has opened. Raises queue.Empty after WAIT_S."""
        return self._connections.get(timeout=WAIT_S)

    @contextmanager
    def mute(self) -> Iterator[None]:
        """While inside, requests are accepted and not answered, as by a network that loses every packet."""
        self._answering.clear()
        try:
            yield
        finally:
            self._answering.set()

    def close(self) -> None:
        self._answering.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Write nothing: the output is the test's."""

            def do_GET(self) -> None:
                stand_in._answering.wait()
                if self.path == "/live" and "text/event-stream" in self.headers.get("Accept", ""):
                    stand_in._stream(self)
                elif self.path == "/live" and stand_in.whole_map is not None:
                    body = json.dumps(stand_in.whole_map).encode()
                    stand_in._answer(self, 200, {"Content-Type": "application/json"}, body)
                else:
                    stand_in._pass_on(self)

            do_POST = do_GET
            do_DELETE = do_GET

        return Handler

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        if self.refusal is not None:
            status, code, detail = self.refusal
            self._answer(handler, status, {"Content-Type": "application/json"}, _problem(code, detail))
            return
        # Who may not read gets no stream, as from the server itself.
        status, headers, body = self._asked(handler, "GET", "/pipeline")
        if status in (401, 403):
            self._answer(handler, status, headers, body)
            return
        connection = LiveConnection()
        self._connections.put(connection)
        connection.run(handler)

    def _pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        self._answer(handler, *self._asked(handler, handler.command, handler.path))

    def _asked(self, handler: BaseHTTPRequestHandler, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the ridelog's answer to a request with the headers of this one."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=WAIT_S)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP_HEADERS}
        upstream.request(method, path, body=body or None, headers=headers)
        answer = upstream.getresponse()
        found = answer.read()
        upstream.close()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_HEADERS}
        return answer.status, kept, found

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes) -> None:
        handler.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                handler.send_header(name, value)
        if status not in (204, 304):
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with suppress(OSError):  # the page did not wait for it
            handler.wfile.write(body)


def _problem(code: str, detail: str) -> bytes:
    return json.dumps({"code": code, "detail": detail}).encode()


@contextmanager
def stand_in(upstream: str) -> Iterator[StandIn]:
    """A stand-in in front of the ridelog of that URL."""
    one = StandIn(upstream)
    try:
        yield one
    finally:
        one.close()
