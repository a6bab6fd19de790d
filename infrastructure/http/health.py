"""``/health/live``, ``/health/ready`` and ``/metrics``, and the checks behind ``/health/ready``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import redis
from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.event_store.log_head import read_head
from infrastructure.http.auth import Authorizer
from infrastructure.http.errors import errors, unavailable
from infrastructure.observability import metrics
from infrastructure.observability.flink_cluster import ClusterUnavailable, FlinkCluster
from infrastructure.observability.stage_reports import StageReport, newest, read_stages
from infrastructure.observability.throttled_log import ThrottledLogger
from infrastructure.postgres.broken_connections import discard, refuses_writes
from infrastructure.redis.connection import AsyncRedisClient
from infrastructure.settings.settings import Settings
from infrastructure.status.flink_line import flink_ready
from projections.catalogue import PROJECTIONS

log = logging.getLogger("ridelog.http")

CHECK_TIMEOUT_S = 3.0
LOG_INTERVAL_S = 60.0
"""Between two lines about one stage: orchestrators ask every few seconds."""
OPERATOR_ROLES: Final = ("metrics", "read")
"""A token of one of these, or of admin, is shown what is wrong in full, and the metrics."""
SEE_LOG: Final = "the log of this node says why"


class StageHealth(NamedTuple):
    """``shown``: 'ok', or what is wrong, for any client.

    ``in_full``: the same with what a server or a stage said, which may name its address, user and database; "" if there
    is no more to say.
    """

    shown: str
    in_full: str = ""


OK: Final = StageHealth("ok")

Check = Callable[[], Awaitable[StageHealth]]


class NotReady(msgspec.Struct):
    """``stages``: stage -> 'ok', or what is wrong with it."""

    status: str
    stages: dict[str, str]
    code: str
    detail: str


def health_routes(
    checks: dict[str, Check], refresh: Callable[[], Awaitable[None]], authorizer: Authorizer
) -> list[HTTPRouteHandler]:
    faults = ThrottledLogger(log, "not ready", interval_s=LOG_INTERVAL_S)

    @get("/health/live", summary="This process answers", tags=["health"], responses=errors(public=True))
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @get(
        "/health/ready",
        summary="Every stage is connected",
        tags=["health"],
        responses={**errors(public=True), 503: ResponseSpec(NotReady, generate_examples=False)},
    )
    async def ready(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        """Lag does not take a node out of service: `status` and the alerts report it.

        Needs no token. What a server said, which may name its address and user, is shown to a token of role `metrics`
        or `read`, and is in this node's log.
        """
        names = list(checks)
        found = await asyncio.gather(*(_checked(checks[name]) for name in names))
        for name, health in zip(names, found, strict=True):
            if health.in_full:
                faults.warn(name, f"{name}: {health.in_full}")
        in_full = authorizer.admits(request, OPERATOR_ROLES)
        results = ((health.in_full if in_full else "") or health.shown for health in found)
        stages = dict(zip(names, results, strict=True))
        good = all(health == OK for health in found)
        body = {"status": "ready" if good else "not ready", "stages": stages}
        if not good:
            bad = "; ".join(f"{name}: {result}" for name, result in stages.items() if result != "ok")
            body |= {"code": "not_ready", "detail": bad}
        return Response(body, status_code=200 if good else 503)

    @get(
        "/metrics",
        media_type=MediaType.TEXT,
        opt={"role": OPERATOR_ROLES},
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
        return Response(text, media_type="text/plain; version=0.0.4")  # Litestar adds the charset of each text.

    return [live, ready, exposition]


async def _checked(check: Check) -> StageHealth:
    try:
        return await asyncio.wait_for(check(), CHECK_TIMEOUT_S)
    except TimeoutError:
        return StageHealth(f"no answer within {CHECK_TIMEOUT_S:.0f} s")


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

    async def postgres() -> StageHealth:
        if failure := failed_append():
            return StageHealth(f"the last append failed: {SEE_LOG}", failure)
        return await asyncio.to_thread(_postgres, writer or engine)

    async def cache(client: AsyncRedisClient) -> StageHealth:
        try:
            await client.ping()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            return _unavailable("Redis", error)
        return OK

    def stage(name: str) -> Check:
        async def check() -> StageHealth:
            return await asyncio.to_thread(_stage, engine, name)

        return check

    servers: dict[str, Check] = {"postgres": postgres}
    if client is not None:
        servers["redis"] = partial(cache, client)
    if flink is not None:
        servers["flink"] = partial(_flink, flink)
    return servers | {name: stage(name) for name in stages}


def _unavailable(server: str, error: Exception) -> StageHealth:
    what = f"{server} does not answer"
    return StageHealth(f"{what}: {SEE_LOG}", f"{what}: {error}".splitlines()[0])


async def _flink(cluster: FlinkCluster) -> StageHealth:
    try:
        return StageHealth(flink_ready(await asyncio.to_thread(cluster.states)))
    except ClusterUnavailable as error:
        return StageHealth(f"the cluster does not answer: {SEE_LOG}", str(error))


def _postgres(engine: Engine) -> StageHealth:
    try:
        with engine.connect() as connection:
            read_head(connection)
            if fault := refuses_writes(connection):
                # The server may accept writes by now, which only a new session shows.
                discard(connection)
                return StageHealth(fault)
    except SQLAlchemyError as error:
        return _unavailable("Postgres", error)
    return OK


def _stage(engine: Engine, name: str) -> StageHealth:
    try:
        return stage_health(newest(read_stages(engine)).get(name))
    except SQLAlchemyError as error:
        return _unavailable("Postgres", error)


def stage_health(report: StageReport | None) -> StageHealth:
    """Whether a stage is connected. The reason why it does not run may quote a server."""
    if report is None:
        return StageHealth("has never reported: is it running?")
    if report.connected:
        return OK
    if not report.alive:
        return StageHealth("its process has ended")
    if report.progress.state != "running":
        return StageHealth(f"does not run: {SEE_LOG}", report.progress.state)
    return StageHealth(f"silent for {report.age_s:.0f} s")
