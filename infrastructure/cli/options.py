"""Options that several commands share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infrastructure.client.client import RidelogClient


DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where the embedded servers keep data and logs.  \\[default: .ridelog]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=64, help="Number of processes that fold, each its own shards.")
]
WORKERS = min(4, os.cpu_count() or 1)

RETRY_NOTE_INTERVAL_S = 5.0
"""At most one line about retries in this time: a busy server can cause hundreds of retries a minute."""

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Where ridelog runs.  \\[default: the serve of --data-dir, else the settings host and port]",
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="RIDELOG_TOKEN",
        show_envvar=True,
        help="Bearer token with role ingest, for orders also dispatch.",
    ),
]


def optional_time(option: str, text: str | None) -> int | None:
    """Epoch milliseconds of an option that takes a time; None without it. Raises BadParameter."""
    from infrastructure.timestamps import time_ms

    try:
        return None if text is None else time_ms(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from error


def connect(
    url: str | None, data_dir: Path | None, token: str | None, on_retry: Callable[[str], None]
) -> RidelogClient:
    """Open a client for the server that the options name.

    ``on_retry`` is called with a message, at most every RETRY_NOTE_INTERVAL_S, while requests are retried.
    """
    from infrastructure.client.client import RidelogClient, server_url
    from infrastructure.settings.settings import Settings

    address = url or server_url(Settings.load({"data_dir": data_dir}))
    return RidelogClient(address, token, on_retry=_throttled(on_retry))


def _throttled(on_retry: Callable[[str], None]) -> Callable[[str], None]:
    lock = threading.Lock()
    reported_at = -RETRY_NOTE_INTERVAL_S

    def throttled(reason: str) -> None:
        nonlocal reported_at
        with lock:
            if time.monotonic() - reported_at < RETRY_NOTE_INTERVAL_S:
                return
            reported_at = time.monotonic()
        on_retry(f"the server is busy or unavailable, retrying ({reason})")

    return throttled
