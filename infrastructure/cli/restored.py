"""``restored``: what was found that is not of this log, whether it is mended, and the end of it."""

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
        typer.Option("--accept", help="You have done what docs/backup.md says; `status` tells it no more."),
    ] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what was found that is not of this log: it was restored to an older state, or replaced by another one.

    Projections fold anew by themselves what is not of this log; this command looks whether all of them have. Exits
    with 1 while something is left to do: by `serve`, or by you (docs/backup.md); then run it with --accept.
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
        left = shards_of_another_log(backends)
        with backends.engine.connect() as connection:
            found = restores.read_findings(connection)
        if accept and not left:
            restores.accept_findings(backends.engine)
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
            echo(f"{name}@{number}: {each.shards} shards are not folded anew yet; run `serve`, which does it")
        if not left:
            echo(_end(accept, bool(found)))
    raise typer.Exit(1 if left or (found and not accept) else 0)


def _end(accept: bool, found: bool) -> str:
    if not found:
        return "nothing is known of a restore; all that is kept is of this log"
    if accept:
        return "accepted: all that is kept is of this log, and `status` does not tell it any more"
    return "all that is kept is of this log by now; do what docs/backup.md says, then: python app.py restored --accept"
