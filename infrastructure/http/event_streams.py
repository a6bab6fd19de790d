"""Server-Sent Events: the response, the bound on open streams, and their end at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from litestar import Response
from litestar.types import Receive, Scope, Send

from infrastructure.http.errors import ApiError

EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT_INTERVAL_S: Final = 15.0
"""A comment after so long without an event, so that proxies and clients do not take the connection for dead."""
RETRY_MS: Final = 1_000
"""How long a client waits before it connects again."""

RETRY_LINE: Final = b"retry: %d\n\n" % RETRY_MS

STREAM_HEADER: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_HEADERS: Final = [
    STREAM_HEADER,
    (b"cache-control", b"no-store"),
    # A buffering proxy (nginx) would hold events back.
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class OpenStreams:
    """Bounds the streams that a process serves at once (invariant 15), and ends them at shutdown."""

    def __init__(self, max_open: int) -> None:
        self._max_open = max_open
        self._open = 0
        self._on_stop: list[Callable[[], None]] = []
        self.stopping = False

    @property
    def open(self) -> int:
        """How many streams are open."""
        return self._open

    def call_at_stop(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` at shutdown, so that streams that wait see ``stopping``."""
        self._on_stop.append(wake)

    def stop(self) -> None:
        """Ask every stream to end. A server that waits for its responses would else wait for its whole grace period."""
        self.stopping = True
        for wake in self._on_stop:
            wake()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for one stream. Raises ApiError 503 if all are taken or the server stops."""
        if self.stopping or self._open >= self._max_open:
            why = "the server stops" if self.stopping else f"{self._max_open} streams are open: RIDELOG_MAX_STREAMS"
            raise ApiError(503, "too_many_streams", f"{why}; connect again later", {"Retry-After": "1"})
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


def wants_stream(accept: str) -> bool:
    """Whether the header Accept asks for Server-Sent Events."""
    return any(part.partition(";")[0].strip().lower() == EVENT_STREAM for part in accept.split(","))


class EventStream(Response[Any]):
    """Sends ``frames`` until they end or the client leaves. It holds a place of ``streams`` meanwhile."""

    def __init__(self, streams: OpenStreams, frames: Callable[[], AsyncIterator[bytes]]) -> None:
        super().__init__(b"", media_type=EVENT_STREAM)
        self._streams = streams
        self._frames = frames

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """This response itself: it sends its own head and body."""
        return self

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application. Raises ApiError 503 if no place is free."""
        with self._streams.place():
            sending = asyncio.ensure_future(self._send(send))
            leaving = asyncio.ensure_future(_client_left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:
                for task in (sending, leaving):
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _send(self, send: Any) -> None:
        frames = self._frames()
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            async for frame in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        finally:
            await frames.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
