"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where the embedded servers keep data and logs.  \\[default: .ridelog]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
