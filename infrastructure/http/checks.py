"""What ``/health/ready`` asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import redis
import redis.asyncio
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.event_store.head import read_head
from infrastructure.event_store.unusable import discard, refuses_writes
from infrastructure.observability.stages import StageReport, newest, read_stages
from infrastructure.settings import Settings
from projections.catalogue import PROJECTIONS

Check = Callable[[], Awaitable[str]]


def needed(settings: Settings) -> tuple[str, ...]:
    """The stages without which nothing new is served. A relay that is somebody else's reports nothing to us."""
    return tuple(PROJECTIONS) if settings.relay == "external" else ("tailer", *PROJECTIONS)


def ready_checks(
    engine: Engine,
    client: redis.asyncio.Redis | None,
    stages: Sequence[str],
    *,
    writer: Engine | None = None,
    failed_append: Callable[[], str] = lambda: "",
) -> dict[str, Check]:
    """Postgres, Redis if this node uses it (``client``), and ``stages``: each is connected, wherever it runs.

    Postgres is asked through ``writer``, the engine that appends, if this node has one: a server that can be read is no
    proof that events can be recorded. ``failed_append`` says why the last append failed, "" if it did not.
    """

    async def postgres() -> str:
        return failed_append() or await asyncio.to_thread(_postgres, writer or engine)

    async def cache(client: redis.asyncio.Redis) -> str:
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
    return servers | {name: stage(name) for name in stages}


def _postgres(engine: Engine) -> str:
    try:
        with engine.connect() as connection:
            read_head(connection)
            if fault := refuses_writes(connection):
                # The server may take writes by now: only a new session shows it.
                discard(connection)
                return fault
    except SQLAlchemyError as error:
        return f"Postgres does not answer: {error}".splitlines()[0]
    return "ok"


def _stage(engine: Engine, name: str) -> str:
    try:
        return in_words(newest(read_stages(engine)).get(name))
    except SQLAlchemyError as error:
        return f"Postgres does not answer: {error}".splitlines()[0]


def in_words(report: StageReport | None) -> str:
    """'ok' or what is wrong with a stage."""
    if report is None:
        return "has never reported: is it running?"
    if report.connected:
        return "ok"
    if not report.alive:
        return "its process has ended"
    if report.progress.state != "running":
        return report.progress.state
    return f"silent for {report.age_s:.0f} s"
