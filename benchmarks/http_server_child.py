"""One HTTP server of ``http_servers`` in a separate process: ``python -m benchmarks.http_server_child NAME PORT``.

All servers run the same application: the routes of the API, with memory in place of the event store and Redis, so that
the server and the routes are measured. Each peer has the settings that come closest to our limits.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

from litestar import Litestar

from domain.features.speed.window import SpeedState, WindowPing
from domain.gps_ping import GpsPing
from domain.riders.application import PingOutcome
from infrastructure.http.application import ApiParts, build
from infrastructure.http_server.server import serve_http
from infrastructure.process_pool import tune_gc
from infrastructure.redis.state_reader import StateReader
from infrastructure.settings.settings import Settings
from read_models.speed.state import encode

HOST = "127.0.0.1"
MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 30
MAX_CONNECTIONS = 4096


class _MemoryRedis:
    """Answers every read with the state of a rider with a full window."""

    def __init__(self) -> None:
        start = time.time_ns() // 1_000_000
        window = tuple(WindowPing(start + n * 1000, f"{n:032x}", 52.5 + n * 4e-5, 13.4, 5.0, None) for n in range(10))
        self._state = encode(SpeedState(10, 10, 10, 0, window))

    async def execute(self, *_command: str) -> list[bytes | None]:
        return [self._state, None]


async def _submit(pings: Sequence[GpsPing]) -> list[PingOutcome]:
    await asyncio.sleep(0)
    return [PingOutcome(position, is_new=True) for position, _ in enumerate(pings, start=1)]


async def _nothing() -> None:
    """Does nothing, because no gauge needs a refresh."""


def application() -> Litestar:
    """The application that every server runs."""
    tune_gc()
    unused = cast("Any", None)
    reader = StateReader(unused, "speed", lambda: 1, cast("Any", _MemoryRedis()))
    return build(Settings(), ApiParts(_submit, reader, unused, lambda: None, lambda _read: None, {}, _nothing))


def ours(port: int) -> None:
    serve_http(application(), Settings(host=HOST, port=port))


def plain_uvicorn(port: int, http: str) -> None:
    """Uvicorn without changes, with the settings that the API had before it got its own protocol."""
    import uvicorn

    uvicorn.run(
        application(),
        host=HOST,
        port=port,
        loop="uvloop",
        http=http,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        limit_concurrency=None,
    )


def granian(port: int) -> None:
    """Granian runs its worker in a child process and takes the application by name only."""
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.server import Server

    Server(
        "benchmarks.http_server_child:application",
        address=HOST,
        port=port,
        interface=Interfaces.ASGI,
        factory=True,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        backpressure=MAX_CONNECTIONS,
        log_enabled=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_S * 1000, max_buffer_size=MAX_HEAD_BYTES),
    ).serve()


def granian_embedded(port: int) -> None:
    """Granian's server for a process with its own event loop, which Granian calls experimental."""
    import uvloop
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    async def run() -> None:
        await Server(
            application(),
            address=HOST,
            port=port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=2048,
            backpressure=MAX_CONNECTIONS,
            log_enabled=False,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_S * 1000, max_buffer_size=MAX_HEAD_BYTES),
        ).serve()

    uvloop.run(run())


def hypercorn(port: int) -> None:
    import uvloop
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.keep_alive_timeout = HEAD_TIMEOUT_S
    config.read_timeout = HEAD_TIMEOUT_S
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.include_server_header = False
    uvloop.run(serve(cast("Any", application()), config))


def main(name: str, port: int) -> None:
    """Serve until SIGTERM. Raises KeyError for an unknown name, ImportError for a peer that is not installed."""
    {
        "ours": ours,
        "uvicorn": lambda port: plain_uvicorn(port, "httptools"),
        "uvicorn-zttp": lambda port: plain_uvicorn(port, "zttp"),
        "uvicorn-h11": lambda port: plain_uvicorn(port, "h11"),
        "granian": granian,
        "granian-embedded": granian_embedded,
        "hypercorn": hypercorn,
    }[name](port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
