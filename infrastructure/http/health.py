"""``/health/live``, ``/health/ready`` and ``/metrics``, and the checks behind ``/health/ready``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import redis
from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.event_store.log_head import read_head
from infrastructure.http.errors import errors, unavailable
from infrastructure.observability import metrics
from infrastructure.observability.flink_cluster import ClusterUnavailable, FlinkCluster
from infrastructure.observability.stage_reports import StageReport, newest, read_stages
from infrastructure.postgres.broken_connections import discard, refuses_writes
from infrastructure.redis.connection import AsyncRedisClient
from infrastructure.settings.settings import Settings
from infrastructure.status.flink_line import flink_ready
from projections.catalogue import PROJECTIONS

CHECK_TIMEOUT_S = 3.0

Check = Callable[[], Awaitable[str]]
"""Returns 'ok', or what is wrong."""


class NotReady(msgspec.Struct):
    """``stages``: stage -> 'ok', or what is wrong with it."""

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
        """Lag does not take a node out of service: ``status`` and the alerts report it."""
        names = list(checks)
        found = await asyncio.gather(*(_checked(checks[name]) for name in names))
        stages = dict(zip(names, found, strict=True))
        good = all(result == "ok" for result in found)
        body = {"status": "ready" if good else "not ready", "stages": stages}
        if not good:
            bad = "; ".join(f"{name}: {result}" for name, result in stages.items() if result != "ok")
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


def needed(settings: Settings) -> tuple[str, ...]:
    """The stages without which nothing new is served. An external relay is another program and sends no reports.

    The city is not one of them: without it an ETA says ``city_stale``, and nodes of before it stay ready.
    """
    return tuple(PROJECTIONS) if settings.relay == "external" else ("tailer", *PROJECTIONS)


def ready_checks(
    engine: Engine,
    client: AsyncRedisClient | None,
    stages: Sequence[str],
    *,
    writer: Engine | None = None,
    failed_append: Callable[[], str] = lambda: "",
    flink: FlinkCluster | None = None,
) -> dict[str, Check]:
    """Postgres, Redis if this node uses it (``client``), and ``stages``: each is connected, wherever it runs.

    Postgres is checked through ``writer``, the engine that appends, if this node has one: a server that can be read may
    still reject writes. ``failed_append`` returns why the last append failed, "" if it did not.
    ``flink``: the cluster that follows projections, if there is one. Its jobs are a stage of their own.
    """

    async def postgres() -> str:
        return failed_append() or await asyncio.to_thread(_postgres, writer or engine)

    async def cache(client: AsyncRedisClient) -> str:
        try:
            await client.ping()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            return f"Redis does not answer: {error}"
        return "ok"

    def stage(name: str) -> Check:
        async def check() -> str:
            return await asyncio.to_thread(_stage, engine, name)

        return check

    servers: dict[str, Check] = {"postgres": postgres}
    if client is not None:
        servers["redis"] = partial(cache, client)
    if flink is not None:
        servers["flink"] = partial(_flink, flink)
    return servers | {name: stage(name) for name in stages}


async def _flink(cluster: FlinkCluster) -> str:
    try:
        return flink_ready(await asyncio.to_thread(cluster.states))
    except ClusterUnavailable as error:
        return str(error)


def _postgres(engine: Engine) -> str:
    try:
        with engine.connect() as connection:
            read_head(connection)
            if fault := refuses_writes(connection):
                # The server may accept writes by now, which only a new session shows.
                discard(connection)
                return fault
    except SQLAlchemyError as error:
        return f"Postgres does not answer: {error}".splitlines()[0]
    return "ok"


def _stage(engine: Engine, name: str) -> str:
    try:
        return describe_stage(newest(read_stages(engine)).get(name))
    except SQLAlchemyError as error:
        return f"Postgres does not answer: {error}".splitlines()[0]


def describe_stage(report: StageReport | None) -> str:
    """'ok', or what is wrong with a stage."""
    if report is None:
        return "has never reported: is it running?"
    if report.connected:
        return "ok"
    if not report.alive:
        return "its process has ended"
    if report.progress.state != "running":
        return report.progress.state
    return f"silent for {report.age_s:.0f} s"
