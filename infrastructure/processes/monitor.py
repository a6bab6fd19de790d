"""The monitor as a program: ``/metrics`` and ``/health/…`` of a node that has no API."""

from __future__ import annotations

from collections.abc import Sequence

from infrastructure.http.application import node_application
from infrastructure.http.health import ready_checks
from infrastructure.http.metrics_refresh import stage_refresher
from infrastructure.http_server.server import serve_http
from infrastructure.postgres.engine import reader_engine
from infrastructure.redis.connection import connect_async
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS


def main(settings: Settings, watched: Sequence[str]) -> None:
    """Serve until SIGTERM. ``watched``: the programs that run here, tailer and projections."""
    assert settings.postgres_url is not None
    assert settings.redis_url is not None
    stages = [*(["tailer"] if "tailer" in watched else []), *(PROJECTIONS if "projections" in watched else ())]
    engine = reader_engine(settings.postgres_url, pool_size=2)
    cache = connect_async(settings.redis_url) if "projections" in watched else None
    checks = ready_checks(engine, cache, stages)
    closing = [] if cache is None else [cache.aclose]
    try:
        serve_http(
            node_application(settings, checks, stage_refresher(engine, settings.data_dir, stages), closing), settings
        )
    finally:
        engine.dispose()
