"""Builds the ASGI applications: the API, and health and metrics alone for a node without an API."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, get_args

from litestar import Litestar, MediaType, Router
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp, Guard, Message, Receive, Scope, Send
from prometheus_client import Histogram

from domain.features.speed.window import SpeedState
from domain.riders.commands import ReviewAlert
from infrastructure.http.auth import Authorizer, local_only
from infrastructure.http.delivery_body import STEPS
from infrastructure.http.denials import Denials
from infrastructure.http.errors import HANDLERS
from infrastructure.http.event_streams import STREAM_HEADER
from infrastructure.http.head_requests import HeadApplication
from infrastructure.http.health import Check, health_routes
from infrastructure.http.map_tiles import map_route
from infrastructure.http.pings import Accepted, Submit, UnavailableReason, pings_route
from infrastructure.http.sessions import Sessions, session_routes
from infrastructure.http.speed import OnServed, speed_route
from infrastructure.http.web_page import index_route, policy, web_files_route
from infrastructure.observability import metrics
from infrastructure.redis.state_reader import StateReader
from infrastructure.replay.past_reads import PastKeys
from infrastructure.settings.map_tiles import map_tiles
from infrastructure.settings.settings import Settings
from read_models.view import ViewLimits

LINKS: Final = {
    "health": "/health/ready",
    "schema": "/schema",
    "metrics": "/metrics",
    "pings": "/pings",
    "speed": "/riders/{rider_id}/speed",
    "deliveries": "/deliveries",
    "fraud": "/fraud/alerts",
    "payouts": "/payouts",
    "events": "/events",
}


@dataclass(frozen=True)
class ApiParts:
    """The dependencies of the application, from the process that serves it."""

    submit: Submit
    speed: StateReader
    past_speed: PastKeys[SpeedState]
    delay_ms: Callable[[], int | None]
    on_served: OnServed
    checks: dict[str, Check]
    refresh_metrics: Callable[[], Awaitable[None]]
    routers: Sequence[Router | HTTPRouteHandler] = ()
    on_shutdown: Sequence[Callable[[], Any]] = ()
    sessions: Sessions | None = None


def build(settings: Settings, parts: ApiParts) -> Litestar:
    """Routes, guard, error handlers and the OpenAPI description under ``/schema``."""
    # Prometheus sees no increase in a counter that starts at 1.
    for why in get_args(UnavailableReason):
        metrics.REFUSED.labels(why)
    for verb in ("place", *STEPS, ReviewAlert.VERB):
        for outcome in ("recorded", "repeated", "queue_full", "event_store_unavailable"):
            metrics.COMMANDS.labels(verb, outcome)
    limits = ViewLimits(settings.target_freshness_ms, settings.feature_ttl_ms)
    tiles = None if settings.map_tiles is None else map_tiles(settings.map_tiles)
    authorizer = Authorizer(settings.parsed_tokens(), parts.sessions)
    handlers: list[HTTPRouteHandler | Router] = [
        pings_route(
            parts.submit,
            max_items=settings.max_batch_items,
            max_bytes=settings.max_body_bytes,
            on_answered=count_pings,
            on_recorded=observe_delays,
            on_unavailable=count_unavailable,
        ),
        speed_route(parts.speed, parts.past_speed, limits, parts.delay_ms, parts.on_served),
        *health_routes(parts.checks, parts.refresh_metrics, authorizer),
        index_route(LINKS, policy(tiles)),
        map_route(tiles, settings.map_attribution),
        web_files_route(),
        *parts.routers,
    ]
    if parts.sessions is not None:
        handlers += session_routes(parts.sessions, authorizer.roles_of)
    return HeadApplication(
        handlers,
        guards=guards(settings, authorizer),
        exception_handlers=HANDLERS,
        middleware=[timing],
        on_shutdown=list(parts.on_shutdown),
        openapi_config=OpenAPIConfig(
            title="Ridelog",
            version="1",
            description="The event log behind a delivery platform's ETA.",
            path="/schema",
            # No interactive page: those of the library load their scripts from the network.
            render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"], media_type=MediaType.JSON)],
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        ),
        logging_config=None,
        # The handler that reads a body bounds it, with an error of our own form.
        request_max_body_size=None,
    )


def guards(settings: Settings, authorizer: Authorizer) -> list[Guard]:
    """The guards of all routes: with tokens every client needs one, without tokens only this machine is served.

    Off loopback without tokens ``preflight.refuse_open_http`` has refused to start.
    """
    return [Denials(local_only if settings.on_loopback and not settings.parsed_tokens() else authorizer)]


def count_pings(answer: Accepted) -> None:
    metrics.PINGS.labels("accepted").inc(answer.accepted)
    metrics.PINGS.labels("duplicate").inc(answer.duplicates)
    metrics.PINGS.labels("rejected").inc(len(answer.rejected))
    for item in answer.rejected:
        metrics.REJECTED.labels(item.code).inc()


def observe_delays(device_s: float, ingest_s: float) -> None:
    metrics.DEVICE_SECONDS.observe(device_s)
    metrics.INGEST_SECONDS.observe(ingest_s)


def count_command(verb: str, outcome: str) -> None:
    metrics.COMMANDS.labels(verb, outcome).inc()


def count_unavailable(why: UnavailableReason, pings: int) -> None:
    metrics.REFUSED.labels(why).inc(pings)


def timing(app: ASGIApp) -> ASGIApp:
    """Time every request by its route's template. By path, each rider id would become a metric of its own.

    A stream lasts as long as its client stays, which says nothing of this server: it is not timed.
    """

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        started = time.perf_counter()
        status, is_stream = 500, False

        async def watch(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = STREAM_HEADER in message["headers"]
            await send(message)

        try:
            await app(scope, receive, watch)
        finally:
            route = scope.get("path_template") or "unknown"
            seconds = time.perf_counter() - started
            if not is_stream:
                _series(str(scope["method"]), str(route), status).observe(seconds)

    return middleware


@lru_cache(maxsize=1024)
def _series(method: str, route: str, status: int) -> Histogram:
    """The series of one kind of request. Found here, without the lock of the metric."""
    return metrics.REQUESTS.labels(method, route, str(status))


def node_application(
    settings: Settings,
    checks: dict[str, Check],
    refresh_metrics: Callable[[], Awaitable[None]],
    on_shutdown: Sequence[Callable[[], Any]] = (),
) -> Litestar:
    """The application of a node without an API: ``/health/…`` and ``/metrics``, with the same guards."""
    authorizer = Authorizer(settings.parsed_tokens())
    return HeadApplication(
        health_routes(checks, refresh_metrics, authorizer),
        guards=guards(settings, authorizer),
        exception_handlers=HANDLERS,
        on_shutdown=list(on_shutdown),
        openapi_config=None,
        logging_config=None,
    )
