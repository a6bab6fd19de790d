"""The monitor process: serves ``/metrics`` and ``/health/…`` on a node without an API."""

from __future__ import annotations

from collections.abc import Sequence

from infrastructure.backends import Backends
from infrastructure.http.application import node_application
from infrastructure.http.health import ready_checks
from infrastructure.http.metrics_refresh import stage_refresher
from infrastructure.http_server.server import serve_http
from infrastructure.settings.settings import Settings
from projections.catalogue import PROJECTIONS


def main(settings: Settings, watched: Sequence[str]) -> None:
    """Serve until SIGTERM. ``watched``: the programs on this node, of tailer, projections, city and payments."""
    own = [name for name in ("tailer", "city", "payments") if name in watched]
    stages = [*own, *(PROJECTIONS if "projections" in watched else ())]
    with Backends(settings, pool_size=2) as backends:
        cache = backends.async_cache() if "projections" in watched else None
        checks = ready_checks(backends.engine, cache, stages)
        closing = [] if cache is None else [cache.aclose]
        refresh = stage_refresher(backends.engine, settings.data_dir, stages)
        serve_http(node_application(settings, checks, refresh, closing), settings)
