"""Health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec

from infrastructure.http.described import errors
from infrastructure.http.errors import unavailable
from infrastructure.observability import metrics

CHECK_TIMEOUT_S = 3.0

Check = Callable[[], Awaitable[str]]
"""'ok', or in words what is wrong."""


class NotReady(msgspec.Struct):
    """``stages``: of each 'ok', or what is wrong with it."""

    status: str
    stages: dict[str, str]
    code: str
    detail: str


def health_routes(checks: dict[str, Check], refresh: Callable[[], Awaitable[None]]) -> list[HTTPRouteHandler]:
    @get("/health/live", summary="This process answers", tags=["health"], responses=errors(public=True))
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @get(
        "/health/ready",
        summary="Every stage is connected",
        tags=["health"],
        responses={**errors(public=True), 503: ResponseSpec(NotReady, generate_examples=False)},
    )
    async def ready() -> Response[dict[str, Any]]:
        """Lag takes no node out of service: it is in ``status`` and in the alerts."""
        names = list(checks)
        found = await asyncio.gather(*(_checked(checks[name]) for name in names))
        stages = dict(zip(names, found, strict=True))
        good = all(words == "ok" for words in found)
        body = {"status": "ready" if good else "not ready", "stages": stages}
        if not good:
            bad = "; ".join(f"{name}: {words}" for name, words in stages.items() if words != "ok")
            body |= {"code": "not_ready", "detail": bad}
        return Response(body, status_code=200 if good else 503)

    @get(
        "/metrics",
        media_type=MediaType.TEXT,
        opt={"role": ("metrics", "read")},
        summary="Prometheus metrics",
        tags=["health"],
        responses=errors(503),
    )
    async def exposition() -> Response[bytes]:
        try:
            await asyncio.wait_for(refresh(), CHECK_TIMEOUT_S)
        except TimeoutError as error:
            raise unavailable("metrics_unavailable", "Postgres does not answer") from error
        text = await asyncio.to_thread(metrics.exposition)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [live, ready, exposition]


async def _checked(check: Check) -> str:
    try:
        return await asyncio.wait_for(check(), CHECK_TIMEOUT_S)
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:.0f} s"
