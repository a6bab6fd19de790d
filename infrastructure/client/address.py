"""Which server a command speaks to."""

from __future__ import annotations

from pathlib import Path

from infrastructure.embedded.data_dir import read_run_info

DEFAULT_URL = "http://127.0.0.1:8000"


def server_url(given: str | None, data_dir: Path) -> str:
    """``given``, else that of the ``serve`` that runs on ``data_dir``, else the address ``serve`` has by default."""
    if given is not None:
        return given
    info = read_run_info(data_dir)
    return DEFAULT_URL if info is None else info.http_url
