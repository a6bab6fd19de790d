"""Counts requests that are denied for their token or origin, and logs them once a minute for each client."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from infrastructure.http.errors import ApiError
from infrastructure.observability import metrics

log = logging.getLogger("ridelog.http")

LOG_INTERVAL_S: Final = 60.0
MAX_CLIENTS: Final = 1_000
"""The latest clients that are remembered. An older one is forgotten and may be logged sooner (invariant 15)."""

MAX_LINES_PER_INTERVAL: Final = 100
"""For all clients together: a client with a million addresses must not fill the disk with log lines."""

STATUSES: Final = (401, 403)

AnyGuard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None] | None]


class Denials:
    """Wraps a guard: counts and logs the 401 and 403 that it raises, and raises them again."""

    def __init__(self, guard: AnyGuard, clock: Callable[[], float] = time.monotonic) -> None:
        self._guard = guard
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Client -> when it was logged last, and how many of its requests were denied since."""
        self._interval_began = -LOG_INTERVAL_S
        self._lines = 0
        # Prometheus sees no increase in a counter that starts at 1.
        for status in STATUSES:
            metrics.DENIED.labels(str(status))

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        try:
            pending = self._guard(connection, handler)
            if pending is not None:
                await pending
        except ApiError as error:
            if error.status in STATUSES:
                self._denied(connection, error)
            raise

    def _denied(self, connection: ASGIConnection[Any, Any, Any, Any], error: ApiError) -> None:
        metrics.DENIED.labels(str(error.status)).inc()
        client = connection.client.host if connection.client is not None else "unknown"
        now = self._clock()
        logged_at, more = self._clients.get(client, (None, 0))
        if logged_at is not None and now - logged_at < LOG_INTERVAL_S:
            self._clients[client] = (logged_at, more + 1)
            return
        if now - self._interval_began >= LOG_INTERVAL_S:
            self._interval_began, self._lines = now, 0
        if self._lines >= MAX_LINES_PER_INTERVAL:
            return
        self._lines += 1
        self._clients[client] = (now, 0)
        self._clients.move_to_end(client)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        # The route's template, because the path is text that the client chooses.
        route = connection.scope.get("path_template") or "a route"
        log.warning(
            "%d %s: %s from %s for %s%s",
            error.status,
            error.code,
            connection.scope.get("method", "a request"),
            client,
            route,
            f" ({more:,} more since its last line)" if more else "",
        )
