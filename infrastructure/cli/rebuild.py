"""``rebuild-projection`` and ``rollback-projection``: a new generation beside the live one, and back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.errors import UserError
from infrastructure.cli.options import WORKERS, DataDirOption, JsonOption, WorkersOption
from infrastructure.cli.output import echo

if TYPE_CHECKING:
    from pathlib import Path

    from projections.rebuild import Rebuild
    from projections.rebuild_outcome import Outcome

NameArgument = Annotated[str, typer.Argument(help="The projection, for example speed.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("rebuild-projection")(rebuild_projection)
    app.command("rollback-projection")(rollback_projection)


def rebuild_projection(
    name: NameArgument,
    workers: WorkersOption = WORKERS,
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="Fold everything anew and compare; switch nothing, keep nothing.")
    ] = False,
    accept_differences: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="Switch although another fold version gives other results: these."),
    ] = None,
    live_is_damaged: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="Switch although the same fold gives other results, these: verify-parity has shown that it is the "
            "live generation which is not what the log says.",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build a projection anew from the event store, beside the live one, and switch to it.

    Reads go on all the time. The new generation is compared with the live one at equal fences; with the same fold
    version any difference blocks the switch, with another one you accept the differences by their digest. The old
    generation is kept up to date: rollback-projection is instant. A broken-off rebuild goes on where it ended.

    Works beside a running `serve` or without one. Exits with 1 unless it switched (or, with --verify-only, found
    both equal).
    """
    from projections.rebuild_outcome import NotAccepted

    def run(rebuild: Rebuild) -> Outcome:
        try:
            return rebuild.run(accept=accept_differences, live_is_damaged=live_is_damaged, verify_only=verify_only)
        except NotAccepted as error:
            raise UserError(str(error)) from error

    _with_rebuild(name, data_dir, workers, as_json, run)


def rollback_projection(name: NameArgument, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Switch back to the generation that was active before the last rebuild; it has been kept up to date.

    Run again, it switches forward. Needs the code that folds that generation.
    """
    _with_rebuild(name, data_dir, 1, as_json, lambda rebuild: rebuild.roll_back())


def _with_rebuild(
    name: str, data_dir: Path | None, workers: int, as_json: bool, act: Callable[[Rebuild], Outcome]
) -> None:
    import msgspec

    from infrastructure.cli.expected import expected_as_user_error
    from infrastructure.cli.progress import Reporter
    from infrastructure.rebuild.run import rebuilding
    from infrastructure.rebuild.words import document, lines
    from infrastructure.rebuild.world import NEEDS, projection_named
    from infrastructure.settings import Settings
    from infrastructure.supervision.stack import servers_for
    from projections.generations import NotSwitched
    from projections.rebuild_outcome import Nothing

    projection = projection_named(name)
    # Races with the service's worker are lost and won by the dozen here, and say nothing to the person who looks on.
    logging.getLogger("ridelog").setLevel(logging.ERROR)
    settings = Settings.load({"data_dir": data_dir})
    try:
        with (
            expected_as_user_error(),
            servers_for(settings, NEEDS) as served,
            Reporter(f"rebuild {name}", "events", 1.0) as shown,
        ):

            def show(done: int, of: int) -> None:
                shown.update(done / max(of, 1), done, f"{of - done:,} to go")

            with rebuilding(served, projection, workers=workers, show=show, tell=shown.note) as rebuild:
                outcome = act(rebuild)
    except (Nothing, NotSwitched) as error:
        raise UserError(str(error)) from error
    if as_json:
        echo(msgspec.json.encode(document(outcome)))
    else:
        for line in lines(outcome):
            echo(line)
    raise typer.Exit(0 if outcome.verdict in ("switched", "equal") else 1)
