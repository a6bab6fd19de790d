"""Runs the HTTP server of the programs that serve HTTP."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import uvicorn
from litestar import Litestar
from uvicorn.config import STARTUP_FAILURE

from infrastructure.http_server.connections import (
    OVERFLOW_CONNECTIONS,
    RESERVED_FILES,
    ConnectionLimits,
    Connections,
    connections_within,
    raise_open_files,
)
from infrastructure.http_server.protocol import BoundedHttpProtocol
from infrastructure.http_server.refusal import CODES
from infrastructure.observability import metrics
from infrastructure.settings.settings import Settings

log = logging.getLogger("ridelog.http")


class AnnouncingServer(uvicorn.Server):
    """Calls ``on_stopping`` before it waits for the responses in progress, so that streams of events can end."""

    def __init__(self, config: uvicorn.Config, on_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stopping = on_stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Announce the end, then shut down as Uvicorn does."""
        self._on_stopping()
        await super().shutdown(sockets)


def nothing_to_end() -> None:
    """For applications without streams."""


def serve_http(application: Litestar, settings: Settings, on_stopping: Callable[[], None] = nothing_to_end) -> None:
    """Serve until SIGTERM, then answer the requests in progress. Raises SystemExit if the server cannot start.

    ``on_stopping`` is called in the event loop, before the server waits for those requests.
    """
    wanted = settings.max_connections
    open_files = raise_open_files(wanted + OVERFLOW_CONNECTIONS + RESERVED_FILES)
    limits = ConnectionLimits(max_connections=connections_within(open_files, wanted))
    if limits.max_connections < wanted:
        log.warning(
            "%d connections at once instead of %d: the limit on open files is %d; raise it with ulimit -Hn",
            limits.max_connections,
            wanted,
            open_files,
        )
    for code in CODES:
        metrics.HTTP_REFUSED.labels(code)
    server = AnnouncingServer(server_config(application, settings.host, settings.port, limits), on_stopping)
    # SIGINT is raised again once the server has stopped.
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def server_config(application: Litestar, host: str, port: int, limits: ConnectionLimits) -> uvicorn.Config:
    """The configuration of the server, for every program and for the tests."""
    protocol = partial(BoundedHttpProtocol, limits, Connections(limits))
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        loop="uvloop",
        http=cast("Any", protocol),
        # An offer of WebSocket is ignored like any other: no route uses it.
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
