"""Starts the real HTTP server on a free port, for tests with a client of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from litestar import Litestar

from infrastructure.embedded.server import free_port
from infrastructure.http_server.connections import ConnectionLimits
from infrastructure.http_server.server import AnnouncingServer, nothing_to_end, server_config
from tests.support.time_limits import scaled_s
from tests.support.waiting import eventually


@contextmanager
def served(application: Litestar, limits: ConnectionLimits | None = None) -> Iterator[str]:
    """The application's URL, while it is served in a thread."""
    with running_server(application, limits) as (url, _):
        yield url


@contextmanager
def running_server(
    application: Litestar,
    limits: ConnectionLimits | None = None,
    on_stopping: Callable[[], None] = nothing_to_end,
) -> Iterator[tuple[str, uvicorn.Server]]:
    """The application's URL and its server, while it is served in a thread."""
    port = free_port()
    config = server_config(application, "127.0.0.1", port, limits or ConnectionLimits())
    server = AnnouncingServer(config, on_stopping)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started, what="uvicorn has started")
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        thread.join(timeout=scaled_s(15))
