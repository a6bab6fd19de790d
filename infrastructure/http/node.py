"""The ASGI application of a node without an API: health and metrics, behind the same guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar import Litestar

from infrastructure.http.application import guards
from infrastructure.http.errors import HANDLERS
from infrastructure.http.head import HeadApplication
from infrastructure.http.health import Check, health_routes
from infrastructure.settings import Settings


def node_application(
    settings: Settings,
    checks: dict[str, Check],
    refresh_metrics: Callable[[], Awaitable[None]],
    on_shutdown: Sequence[Callable[[], Any]] = (),
) -> Litestar:
    """``/health/live``, ``/health/ready``, ``/metrics`` and nothing else."""
    return HeadApplication(
        health_routes(checks, refresh_metrics),
        guards=guards(settings),
        exception_handlers=HANDLERS,
        on_shutdown=list(on_shutdown),
        openapi_config=None,
        logging_config=None,
    )
