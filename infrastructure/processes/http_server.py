"""How the programs that speak HTTP serve it."""

from __future__ import annotations

import uvicorn
from litestar import Litestar

from infrastructure.settings import Settings


def serve_http(application: Litestar, settings: Settings) -> None:
    """Until SIGTERM; requests that are under way are answered first."""
    uvicorn.run(
        application,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )
