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
    int, typer.Option("--workers", min=1, max=64, help="Processes that fold, each with shards of its own.")
]
WORKERS = min(4, os.cpu_count() or 1)

RETRY_NOTE_EVERY_S = 5.0

UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="Where ridelog runs.  \\[default: the serve of --data-dir, else http://127.0.0.1:8000]"),
]
TokenOption = Annotated[
    str | None,
    typer.Option("--token", envvar="RIDELOG_TOKEN", show_envvar=True, help="Bearer token of role ingest, if needed."),
]


def connect(url: str | None, data_dir: Path | None, token: str | None, note: Callable[[str], None]) -> RidelogClient:
    """A client of the server that the options mean; ``note`` hears, now and then, why it has to wait."""
    from infrastructure.client.client import RidelogClient, server_url
    from infrastructure.settings.settings import Settings

    address = url or server_url(None, Settings.load({"data_dir": data_dir}).data_dir)
    return RidelogClient(address, token, on_retry=_now_and_then(note))


def _now_and_then(note: Callable[[str], None]) -> Callable[[str], None]:
    lock = threading.Lock()
    told = -RETRY_NOTE_EVERY_S

    def on_retry(reason: str) -> None:
        nonlocal told
        with lock:
            if time.monotonic() - told < RETRY_NOTE_EVERY_S:
                return
            told = time.monotonic()
        note(f"the server is busy or away, trying again ({reason})")

    return on_retry
