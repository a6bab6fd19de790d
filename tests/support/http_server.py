"""A real uvicorn on a free port for tests that bring their own client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from litestar import Litestar

from infrastructure.embedded.ports import free_port
from tests.support.waiting import eventually


@contextmanager
def served(application: Litestar) -> Iterator[str]:
    """The application's URL, while it is served in a thread."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(application, host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started, what="uvicorn has started")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
