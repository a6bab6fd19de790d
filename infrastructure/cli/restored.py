"""``restored``: shows what does not match the log, whether it has been repaired, and accepts the result."""

from __future__ import annotations

from typing import Annotated

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(restored)


def restored(
    accept: Annotated[
        bool,
        typer.Option("--accept", help="You have followed docs/backup.md: `status` stops reporting the restore."),
    ] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what does not match the log, because the log was restored to an older state or replaced by another log.

    Projections refold by themselves what does not match the log; this command checks whether all of them have. Exits
    with 1 while something is left to do, by `serve` or by you (docs/backup.md). Then run it with --accept.
    """
    import msgspec

    from infrastructure.backends import FOLD_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.operations.restore_check import shards_of_another_log
    from infrastructure.postgres import restore_findings as restores
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), FOLD_SETTINGS) as settings,
        open_backends(settings, FOLD_SETTINGS) as backends,
    ):
        # Before the check: what is found after it has not been checked, and is not accepted with the others.
        with backends.engine.connect() as connection:
            found = restores.read_findings(connection)
        left = shards_of_another_log(backends)
        if accept and not left:
            restores.accept_findings(backends.engine, found)
    if as_json:
        document = {
            "found": [one._asdict() for one in found],
            "left": [{"projection": p, "generation": g, **each._asdict(), "why": each.why.name} for p, g, each in left],
            "accepted": accept and not left,
        }
        echo(msgspec.json.encode(document))
    else:
        for one in found:
            when = "" if one.first_at is None else f"{one.first_at:%Y-%m-%d %H:%M:%S %Z}  "
            echo(f"{when}{one.found_by}: {one.words}")
        for name, number, each in left:
            echo(f"{name}@{number}: {each.shards} shards are not refolded yet; run `serve`, which refolds them")
        if not left:
            echo(_conclusion(accept, bool(found)))
    raise typer.Exit(1 if left or (found and not accept) else 0)


def _conclusion(accept: bool, found: bool) -> str:
    if not found:
        return "no restore was found: everything stored matches the log"
    if accept:
        return "accepted: everything stored matches the log, and `status` no longer reports the restore"
    return "everything stored matches the log now; follow docs/backup.md, then run: python app.py restored --accept"
