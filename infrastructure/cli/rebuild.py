"""``rebuild-projection`` and ``rollback-projection``: build a new generation next to the live one, or switch back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.engines import ClusterOption, Engine, cluster_of_settings, flink_client
from infrastructure.cli.options import WORKERS, DataDirOption, JsonOption, WorkersOption
from infrastructure.cli.output import echo
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.operations.rebuild import FillElsewhere
    from infrastructure.settings.settings import Settings
    from projections.rebuild.rebuild import Rebuild
    from projections.rebuild.rebuild_outcome import RebuildOutcome


NameArgument = Annotated[str, typer.Argument(help="The projection, for example speed.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("rebuild-projection")(rebuild_projection)
    app.command("rollback-projection")(rollback_projection)


def rebuild_projection(
    name: NameArgument,
    workers: WorkersOption = WORKERS,
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="Fold everything again and compare; switch nothing, keep nothing.")
    ] = False,
    accept_differences: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="Switch although the new fold version gives other results: the differences with this digest.",
        ),
    ] = None,
    live_is_damaged: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="Switch although the same fold version gives other results: the differences with this digest. Use it "
            "when verify-parity has shown that the live generation disagrees with the log.",
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="What fills the new generation: processes here, or a Flink cluster.")
    ] = Engine.HERE,
    cluster: ClusterOption = None,
    from_export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Read the beginning of the log from the files that `export-log` wrote, and only the rest from the "
            "event store. With --engine flink, TaskManagers must reach DIR by the same path.",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild a projection from the event store next to the live one, and switch to it.

    Reads continue all the time. The new generation is compared with the live one at equal fences. With the same fold
    version any difference blocks the switch; with another version you accept the differences by their digest. The old
    generation is kept up to date, so rollback-projection is instant. An aborted rebuild continues where it stopped.

    With --engine flink, --workers is the number of subtasks; all else is done here (docs/flink.md).

    Works with or without a running `serve`. Exits with 1 unless it switched (or, with --verify-only, found both
    equal).
    """
    from projections.rebuild.rebuild_outcome import DigestMismatch

    def run(rebuild: Rebuild) -> RebuildOutcome:
        try:
            return rebuild.run(accept=accept_differences, live_is_damaged=live_is_damaged, verify_only=verify_only)
        except DigestMismatch as error:
            raise UserError(str(error)) from error

    _with_rebuild(name, data_dir, workers, as_json, run, cluster, engine, from_export)


def rollback_projection(name: NameArgument, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Switch back to the generation that was active before the last rebuild, which has been kept up to date.

    Run it again to switch forward. Needs the code that folds that generation.
    """
    _with_rebuild(name, data_dir, 1, as_json, lambda rebuild: rebuild.roll_back())


def _with_rebuild(
    name: str,
    data_dir: Path | None,
    workers: int,
    as_json: bool,
    act: Callable[[Rebuild], RebuildOutcome],
    cluster: str | None = None,
    engine: Engine = Engine.HERE,
    export: Path | None = None,
) -> None:
    import msgspec

    from infrastructure.backends import FOLD_SETTINGS, projection_named
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.cli.progress import Reporter
    from infrastructure.embedded.stack import servers_for
    from infrastructure.operations.rebuild import rebuilding
    from infrastructure.operations.rebuild_report import document, lines
    from infrastructure.settings.settings import Settings
    from projections.rebuild.generations import NotSwitched
    from projections.rebuild.rebuild_outcome import NoGenerationToRollBackTo

    projection = projection_named(name)
    # A rebuild meets dozens of fence conflicts with the worker of `serve`. They are expected, so they are not shown.
    logging.getLogger("ridelog").setLevel(logging.ERROR)
    settings = Settings.load({"data_dir": data_dir, "flink_url": cluster})
    try:
        with (
            expected_as_user_error(),
            servers_for(settings, FOLD_SETTINGS) as served,
            Reporter(f"rebuild {name}", "events", 1.0) as shown,
        ):

            def show(done: int, of: int) -> None:
                shown.update(done / max(of, 1), done, f"{of - done:,} to go")

            elsewhere = _on_flink(served, name, workers, shown.note, export) if engine is Engine.FLINK else None
            with rebuilding(
                served,
                projection,
                workers=workers,
                on_progress=show,
                on_note=shown.note,
                fill_elsewhere=elsewhere,
                export=export,
            ) as rebuild:
                outcome = act(rebuild)
    except (NoGenerationToRollBackTo, NotSwitched) as error:
        raise UserError(str(error)) from error
    if as_json:
        echo(msgspec.json.encode(document(outcome)))
    else:
        for line in lines(outcome):
            echo(line)
    raise typer.Exit(0 if outcome.verdict in ("switched", "equal") else 1)


def _on_flink(
    settings: Settings, name: str, parallelism: int, on_note: Callable[[str], None], export: Path | None
) -> FillElsewhere:
    from infrastructure.flink.rebuild_fill import FoldOnFlink

    client, cluster = flink_client(settings), cluster_of_settings(settings)
    found = FoldOnFlink(client, cluster, settings.environment(), name, parallelism, on_note=on_note, export=export)
    return found.fill
