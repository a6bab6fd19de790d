"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where the embedded servers keep data and logs.  \\[default: .ridelog]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=64, help="Processes that fold, each with shards of its own.")
]
WORKERS = min(4, os.cpu_count() or 1)
