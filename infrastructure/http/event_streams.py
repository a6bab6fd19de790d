"""Server-Sent Events: the response, the bound on open streams, and their end at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from litestar import Response
from litestar.types import Receive, Scope, Send

from infrastructure.http.errors import ApiError
from infrastructure.http.sessions import SESSION_CHECK
from infrastructure.observability.metrics import STREAMS, STREAMS_CAPACITY

EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT_INTERVAL_S: Final = 15.0
"""A comment after so long without an event, so that proxies and clients do not take the connection for dead."""
RETRY_MS: Final = 1_000
"""How long a client waits before it connects again."""

END_RETRY_MS: Final = 60_000
"""The same after ``event: end``: a client that ignores it is refused again each time."""

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
        # Also 0: the gauge would else keep what a process that was killed had open.
        STREAMS.set(0)
        STREAMS_CAPACITY.set(max_open)

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
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def _change(self, by: int) -> None:
        self._open += by
        STREAMS.set(self._open)


def wants_stream(accept: str) -> bool:
    """Whether the header Accept asks for Server-Sent Events."""
    return any(part.partition(";")[0].strip().lower() == EVENT_STREAM for part in accept.split(","))


class EventStream(Response[Any]):
    """Sends ``frames`` until they end, the client leaves, or its session ends. It holds a place of ``streams``."""

    def __init__(
        self,
        streams: OpenStreams,
        frames: Callable[[], AsyncIterator[bytes]],
        check_interval_s: float = HEARTBEAT_INTERVAL_S,
    ) -> None:
        """``check_interval_s``: seconds between two checks of the session, if a session allowed the request."""
        super().__init__(b"", media_type=EVENT_STREAM)
        self._streams = streams
        self._frames = frames
        self._check_interval_s = check_interval_s

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """This response itself: it sends its own head and body."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application. Raises ApiError 503 if no place is free."""
        with self._streams.place():
            sending = asyncio.ensure_future(self._send(send))
            leaving = asyncio.ensure_future(_client_left(receive))
            denied = asyncio.ensure_future(self._denied(scope))
            try:
                await asyncio.wait({sending, leaving, denied}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
                elif denied.done() and not leaving.done():
                    denied.result()
                    await _cancel(sending)
                    # A client that reads nothing holds this back until it is disconnected.
                    sending = asyncio.ensure_future(_send_last(send))
                    await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving, denied):
                    await _cancel(task)

    async def _denied(self, scope: Scope) -> None:
        """Return when the session that allowed the request has ended. Never returns for a token."""
        check: Callable[[], Awaitable[None]] | None = (scope.get("state") or {}).get(SESSION_CHECK)
        if check is None:
            await asyncio.Event().wait()
            return
        while True:
            await asyncio.sleep(self._check_interval_s)
            try:
                await check()
            except ApiError as error:
                # 503: the session cannot be looked up now. A restart of Postgres must not end every page's stream.
                if error.status in (401, 403):
                    return

    async def _send(self, send: Any) -> None:
        frames = self._frames()
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        try:
            async for frame in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        finally:
            await frames.aclose()  # type: ignore[attr-defined]
        await _send_last(send)


async def _send_last(send: Any) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel(task: asyncio.Future[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
