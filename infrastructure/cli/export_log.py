"""``export-log``: copies the log into Parquet files, from which a projection can be rebuilt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export-log")(export_log)


def export_log(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files and the manifest.")],
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the log into Parquet files by ranges of positions, up to its head; run it again to add what came since.

    rebuild-projection NAME --from-export DIR reads them instead of the event store. Finished files never change, and
    an aborted export goes on after the last one. A folder with an export of another log is refused.
    """
    import msgspec

    from infrastructure.backends import open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.cli.progress import progress
    from infrastructure.embedded.stack import servers_for
    from infrastructure.replay import log_export
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), ("postgres_url",)) as settings,
        open_backends(settings) as backends,
        progress("export", "events") as show,
    ):
        made = log_export.export_log(backends, out, show)
    if as_json:
        echo(msgspec.json.encode(made))
    else:
        size = sum(file.size_bytes for file in made.files)
        echo(
            f"{out}: {made.last_position:,} events of the log {made.log_id}, {len(made.files):,} files, {size:,} bytes"
        )
