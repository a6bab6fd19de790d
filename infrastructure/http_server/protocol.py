"""The HTTP server's protocol: bounds everything that a connection may hold, and for how long.

Uvicorn does not bound connections, and waits without limit for a first request. docs/performance.md compares servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from infrastructure.http_server.connections import ConnectionLimits, Connections, ConnectionSlot, Timer
from infrastructure.http_server.reader import StrictHttpReader
from infrastructure.http_server.refusal import Refusal, head_too_slow, too_many_connections

_REFUSED_HEAD_TIMEOUT_S: Final = 2.0
"""For connections above the bound, which get a 503."""

_LINGER_S: Final = 2.0
"""How long a refused client may go on sending. If the socket closed at once, the client could lose the answer."""


class _Cycle(RequestResponseCycle):
    """One request and its response."""

    async def send(self, message: Any) -> None:
        if self.waiting_for_100_continue and not self.response_started:
            # RFC 9110, 10.1.1: the client may now omit the body. Its next request could be read as that body.
            self.keep_alive = False
        if self.response_started or message["type"] != "http.response.start":
            await super().send(message)
            return
        transport = cast("_LingeringTransport", self.transport)
        transport.hold()
        try:
            await super().send(message)
        finally:
            # A body of known length follows at once; a stream of events may wait long before its first part. An answer
            # to HEAD has no body, and nothing is written for it.
            transport.release(with_next=self.chunked_encoding is False and self.scope["method"] != "HEAD")


class _LingeringTransport:
    """The part of a transport that a cycle uses. ``close`` leaves the client time to read the response.

    The head of a response goes out with the first part of its body: one packet and one call of the kernel, not two.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.is_closing = transport.is_closing
        self._transport = transport
        self._close = close
        self._holds = False
        self._held = b""

    def write(self, data: bytes) -> None:
        """Send ``data`` after what is held, or hold it."""
        if self._holds:
            self._held += data
        elif self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        else:
            self._transport.write(data)

    def hold(self) -> None:
        """Hold what is written until ``release``."""
        self._holds = True

    def release(self, *, with_next: bool) -> None:
        """Send what is held, or send it ``with_next`` write."""
        self._holds = False
        if not with_next and self._held:
            self.write(b"")

    def close(self) -> None:
        """Send what is held, and close."""
        self.release(with_next=False)
        self._close()


class BoundedHttpProtocol(StrictHttpReader):
    """One connection. ``limits`` and ``open_connections`` belong to its server."""

    def __init__(self, limits: ConnectionLimits, open_connections: Connections, **server: Any) -> None:
        super().__init__(limits, **server)
        self._open = open_connections
        self._slot = ConnectionSlot.NONE
        self._timer = Timer(self.loop)
        self._stall = Timer(self.loop)
        self._discarding = False  # data that still arrives is dropped
        self._closes_after_response = False  # the last response is written

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._lingering: Any = _LingeringTransport(transport, self._close_after_response)
        self._slot = self._open.enter(self, len(self.connections))
        if self._slot is ConnectionSlot.NONE:
            transport.abort()
        else:
            self._timer.start(self._head_timeout_s, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.set_busy(self)
        self._timer.cancel()
        self._stall.cancel()
        super().connection_lost(exc)

    def evict(self) -> None:
        """Close the connection at once. Call only while it is idle."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._discarding or self.parser is None:
            return
        self._open.set_busy(self)
        refusal = self._read(data)
        if refusal is not None:
            self._refuse(refusal)
        elif self._is_answering():
            self._timer.cancel()
        elif self._head_began and not self._head_is_timed:
            self._time_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._abort_if_stalled()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._stall.cancel()

    # Requests and responses

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _begin_request(self, *, keep_alive: bool) -> None:
        refused = self._slot is ConnectionSlot.REFUSED
        app = too_many_connections(self._limits.max_connections) if refused else self.app
        self._start_cycle(app, keep_alive=keep_alive, waits=self._is_answering())

    def _on_end_of_answered_request(self) -> None:
        self._start_client_timer()

    def _start_cycle(self, app: Any, *, keep_alive: bool, waits: bool) -> None:
        self.cycle = _Cycle(
            scope=self.scope,
            transport=self._lingering,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))
        else:
            self._start_asgi_task(self.cycle, app)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer ``refusal`` after all earlier requests. Reads nothing more."""
        self._discarding = True
        self._timer.cancel()
        waits = self._is_answering()
        if waits and self.cycle.more_body:
            # The error is in the body of this request, so the refusal answers this request.
            if self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
            else:
                waits = False
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                if self.cycle.response_started:
                    self._close_after_response()
                    return
        unread = {"type": "http", "method": "GET", "path": "", "query_string": b"", "http_version": "1.1"}
        self.scope = cast("Any", unread | {"client": self.client})
        self.expect_100_continue = False
        self._start_cycle(refusal, keep_alive=False, waits=waits)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self._closes_after_response:
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self._discarding:
            self._start_client_timer()

    # Time

    @property
    def _head_timeout_s(self) -> float:
        return _REFUSED_HEAD_TIMEOUT_S if self._slot is ConnectionSlot.REFUSED else self._limits.head_timeout_s

    def _start_client_timer(self) -> None:
        """Bound the time until the client's next step. Call when no request is being answered."""
        if self.cycle.more_body:
            self._timer.start(self._limits.discard_timeout_s, self._close_after_response)
        elif self._head_began:
            self._time_head()
        else:
            self._open.set_idle(self)
            self._timer.start(self._limits.idle_timeout_s, self._close)

    def _time_head(self) -> None:
        self._head_is_timed = True
        self._timer.start(self._head_timeout_s, lambda: self._refuse(head_too_slow(self._head_timeout_s)))

    def _close_after_response(self) -> None:
        """Close after the last response."""
        self._closes_after_response = True
        if not (self._discarding or self.cycle.more_body):
            self._close()
            return
        self._discarding = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer.start(_LINGER_S, self.transport.abort)

    def _close(self) -> None:
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._abort_if_stalled()

    def _abort_if_stalled(self) -> None:
        """Abort if the client reads nothing of the response for ``stall_timeout_s``."""
        left = self.transport.get_write_buffer_size()

        def check() -> None:
            if self.transport.get_write_buffer_size() >= left:
                self.transport.abort()
            else:
                self._abort_if_stalled()

        self._stall.start(self._limits.stall_timeout_s, check)
