"""Requests that are refused for their token or their origin: counted, and logged once a minute and client."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from infrastructure.http.errors import ApiError
from infrastructure.observability import metrics

log = logging.getLogger("ridelog.http")

LOG_INTERVAL_S: Final = 60.0
MAX_CLIENTS: Final = 1_000
"""Clients that are remembered, the latest; past it the oldest is forgotten and may be logged sooner (invariant 15)."""

MAX_LINES_PER_INTERVAL: Final = 100
"""Of all clients: who has a million addresses must not fill the disk with log lines."""

STATUSES: Final = (401, 403)

SyncGuard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]


class Denials:
    """Wraps a guard; passes on what it raises."""

    def __init__(self, guard: SyncGuard, clock: Callable[[], float] = time.monotonic) -> None:
        self._guard = guard
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """By client: when it was logged last, and how many more were refused since."""
        self._interval_began = -LOG_INTERVAL_S
        self._lines = 0
        # Of a counter that begins at 1 Prometheus shows no increase.
        for status in STATUSES:
            metrics.DENIED.labels(str(status))

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        try:
            self._guard(connection, handler)
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
        # The route's template, not the path: that is the client's own text.
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
