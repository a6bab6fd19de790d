"""``replay``: shows a projection as of an instant, why a key has its values, and how two replays differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.options import WORKERS, DataDirOption, JsonOption, WorkersOption
from infrastructure.cli.output import echo, echo_exactly

if TYPE_CHECKING:
    from infrastructure.backends import Backends
    from projections.replay.as_of import AsOf

DIFF_HELP = (
    "Compare it with another replay: known:T, event:T or position:P (the same code as of then), generation:N (what "
    "that generation stores), code:DIR (the code of another checkout)."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)


def replay(
    projection: Annotated[str, typer.Argument(help="The projection, for example speed.")],
    at: Annotated[
        str | None, typer.Option(help="As of this instant: epoch milliseconds, or RFC 3339 with zone.")
    ] = None,
    axis: Annotated[
        str,
        typer.Option(
            help="What --at means. known: the events recorded by then (transaction time). event: the events that had "
            "happened by then, whenever they were recorded (event time)."
        ),
    ] = "known",
    position: Annotated[
        int | None,
        typer.Option(min=0, help="As of this position of the log; with --axis event, read the log up to here."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Only this key, for example a rider's id.")] = None,
    case: Annotated[
        str | None,
        typer.Option(
            metavar="ALERT",
            help="Print the case file of this alert, byte for byte as it is stored: as of the event that changed it "
            "last, or as of --at or --position. With --key RIDER too, only the log is read.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="For one --key: which pings count, their weights, and which came too late."),
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="For one --key: its values after each of the latest N events."),
    ] = None,
    diff: Annotated[str | None, typer.Option(metavar="WITH", help=DIFF_HELP)] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="With --diff and --key: plot the speed of both sides.")
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, max=1_440, help="Minutes before the instant that --plot shows.")] = 30,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Write all rows to this file; an aborted run continues.")
    ] = None,
    allow_expired: Annotated[
        bool, typer.Option("--allow-expired", help="Also show the values of windows past their time to live.")
    ] = False,
    workers: WorkersOption = WORKERS,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a projection as of an instant, computed from the event store by the fold that serves it.

    For example, one rider's speed as it was known at noon, and why:

      replay speed --key anna --at 2026-11-23T12:00:00Z --explain

    all riders, by the events that had happened by then, as a file:

      replay speed --at 2026-11-23T12:00:00Z --axis event --out noon.parquet

    what lateness has changed:

      replay speed --at 2026-11-23T12:00:00Z --diff event:2026-11-23T12:00:00Z

    the case file of an alert, from the events of its rider:

      replay spoofing --case 5f0e8f65-2b1f-5a8d-9c6e-0b7e9d1c3f6a

    Reads continue all the time, and what is served does not change. Works with or without a running `serve`.
    """
    from infrastructure.backends import projection_named
    from infrastructure.cli import replay_output as show
    from infrastructure.cli.progress import progress
    from infrastructure.replay.cases import CaseReplay
    from infrastructure.replay.queries import ReplayQuery

    _check_options(key, explain, steps, diff, plot, out)
    chosen = projection_named(projection)
    if case is not None:
        if explain or steps is not None or diff is not None or out is not None or as_json:
            raise typer.BadParameter("--case prints a file; only --key, --at, --axis and --position go with it")
        when = None if at is None and position is None else _as_of(at, axis, position)
        with _opened(data_dir) as backends:
            echo_exactly(CaseReplay(backends, chosen).file(case.lower(), key, when))
        return
    as_of = _as_of(at, axis, position)
    with _opened(data_dir) as backends:
        query = ReplayQuery(backends, chosen, as_of, allow_expired, workers, progress)
        if explain:
            show.explained(query.explain(_needed(key)), as_json)
        elif steps is not None:
            show.stepped(query.steps(_needed(key), steps), as_json)
        elif diff is not None:
            found = query.diff(diff, key)
            if plot is not None:
                query.plot(diff, _needed(key), minutes, plot)
            show.differing(found, as_json)
            if plot is not None:
                echo(f"plotted {plot}", err=True)
        elif key is not None:
            show.one(query.one(key), as_json)
        else:
            with query.all(out) as everything:
                show.everything(everything, as_json)


def _check_options(
    key: str | None, explain: bool, steps: int | None, diff: str | None, plot: Path | None, out: Path | None
) -> None:
    if sum((explain, steps is not None, diff is not None)) > 1:
        raise typer.BadParameter("--explain, --steps and --diff exclude each other: give one of them")
    if key is None and (explain or steps is not None or plot is not None):
        raise typer.BadParameter("--explain, --steps and --plot need one key: give --key")
    if plot is not None and diff is None:
        raise typer.BadParameter("--plot shows the two sides of a --diff: give --diff")
    if out is not None and (key is not None or diff is not None):
        raise typer.BadParameter("--out is for all keys as of one instant; for one key or a --diff use --json")
    if out is not None and out.suffix != ".parquet":
        raise typer.BadParameter(f"--out writes Parquet: {out.name}.parquet? (rows as JSON: --json)")


def _needed(key: str | None) -> str:
    assert key is not None
    return key


def _as_of(at: str | None, axis: str, position: int | None) -> AsOf:
    from infrastructure.replay.queries import as_of

    try:
        return as_of(at, axis, position)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def _opened(data_dir: Path | None) -> Iterator[Backends]:
    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings) as backends,
    ):
        yield backends
