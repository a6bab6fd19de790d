"""``parked``: lists, retries and discards keys that are parked at an event which cannot be folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infrastructure.cli.options import DataDirOption, JsonOption
from infrastructure.cli.output import echo
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from infrastructure.backends import Backends
    from projections.core.parked_keys import RetryOutcome

commands = typer.Typer(
    help="Keys that are parked at an event which cannot be folded; all other keys go on.", no_args_is_help=True
)
NameArgument = Annotated[str, typer.Argument(help="The projection, for example speed.")]
KeyArgument = Annotated[str, typer.Argument(help="The key, for example a rider's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="parked")


@commands.command("list")
def list_(
    projection: Annotated[str | None, typer.Option(help="Only this projection.")] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the parked keys of every projection and generation, with the reason. Exits with 0 even if there are some."""
    from infrastructure.backends import projection_named
    from infrastructure.operations.parked_keys import parked_keys
    from projections.catalogue import PROJECTIONS

    wanted = list(PROJECTIONS.values()) if projection is None else [projection_named(projection)]
    with _opened(data_dir) as backends:
        found = [one for each in wanted for one in parked_keys(backends, each)]
    if as_json:
        _print_json([{**one._asdict(), "mark": one.mark._asdict()} for one in found])
        return
    for one in found:
        mark = one.mark
        echo(
            f"{one.projection}@{one.generation}  {one.key}  position {mark.position}, version {mark.version}, "
            f"{mark.event_type}, {mark.kind}: {mark.reason}"
        )
    echo(f"{len(found)} parked" + ("; fix the cause, then run `parked retry`" if found else ""))


@commands.command()
def show(
    projection: NameArgument, key: KeyArgument, data_dir: DataDirOption = None, as_json: JsonOption = False
) -> None:
    """Show one parked key: the event that fails, as far as it can be decoded, and how many events wait behind it."""
    from infrastructure.backends import projection_named
    from infrastructure.operations.parked_keys import parked_keys, waiting_events

    chosen = projection_named(projection)
    with _opened(data_dir) as backends:
        found = [one for one in parked_keys(backends, chosen) if one.key == key]
        if not found:
            raise UserError(f"{key!r} is not parked in {projection}: see `parked list`")
        shown = []
        for one in found:
            events = waiting_events(backends, chosen, one)
            shown.append(
                {
                    "projection": one.projection,
                    "generation": one.generation,
                    "key": one.key,
                    **one.mark._asdict(),
                    "waiting_events": len(events),
                    "payload": events[0].payload.hex() if events else None,
                    "record": _readable(backends, events[0].payload) if events else None,
                }
            )
    if as_json:
        _print_json(shown)
        return
    for item in shown:
        for name, value in item.items():
            echo(f"{name:15} {value}")


@commands.command()
def retry(
    projection: NameArgument,
    key: Annotated[str | None, typer.Argument(help="The key, unless --all is given.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every parked key of the projection.")] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fold a parked key's events from the event store, in order, and unpark the key if all of them fold.

    Its state is then as if no event had ever failed. Exits with 1 if a key still fails.
    """
    from infrastructure.backends import projection_named
    from infrastructure.operations.parked_keys import retriable
    from infrastructure.operations.parked_keys import retry as retry_key

    if (key is None) != every:
        raise typer.BadParameter("name one key, or give --all")
    chosen = projection_named(projection)
    with _opened(data_dir) as backends:
        keys = [key] if key is not None else retriable(backends, chosen)
        done = {one: retry_key(backends, chosen, one) for one in keys}
    _print_outcomes(done, as_json)


@commands.command()
def discard(
    projection: NameArgument,
    key: KeyArgument,
    why: Annotated[str, typer.Option(help="The reason, for the record.")],
    who: Annotated[str | None, typer.Option(help="Who decided it.  \\[default: your login name]")] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Skip the event at which a key is parked, permanently, and fold the events after it.

    The discard is recorded with who, when and why. Every rebuild and replay of this projection honours it. The event
    itself stays in the log. A discard cannot be undone.
    """
    from infrastructure.backends import projection_named
    from infrastructure.operations.parked_keys import discard as discard_event

    if not why.strip():
        raise typer.BadParameter("--why must not be empty")
    chosen, decides = projection_named(projection), who or login_name()
    with _opened(data_dir) as backends:
        done = discard_event(backends, chosen, key, decides, why)
    _print_outcomes({key: done}, as_json)


def login_name(ask: Callable[[], str] | None = None) -> str:
    """The login name of the user who runs the command.

    Raises BadParameter (exit code 2) if the system has no name for the user id, as in some containers.
    """
    import getpass

    try:
        return (ask or getpass.getuser)()
    except (KeyError, OSError) as error:
        raise typer.BadParameter("the system has no name for this user: say who decides with --who") from error


def _print_outcomes(done: dict[str, dict[int, RetryOutcome]], as_json: bool) -> None:
    if as_json:
        _print_json(
            [
                {
                    "key": key,
                    "generation": number,
                    "verdict": result.verdict,
                    "events": result.events,
                    "mark": None if result.parked is None else result.parked._asdict(),
                }
                for key, by_generation in done.items()
                for number, result in by_generation.items()
            ]
        )
    else:
        for key, by_generation in done.items():
            for number, result in by_generation.items():
                if result.parked is None:
                    echo(f"{key} @{number}: unparked, {result.events} events folded")
                else:
                    echo(f"{key} @{number}: still parked at version {result.parked.version}: {result.parked.reason}")
    failed = any(result.parked is not None for by in done.values() for result in by.values())
    raise typer.Exit(1 if failed else 0)


@contextmanager
def _opened(data_dir: Path | None) -> Iterator[Backends]:
    from infrastructure.backends import FOLD_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), FOLD_SETTINGS) as settings,
        open_backends(settings, FOLD_SETTINGS) as backends,
    ):
        yield backends


def _readable(backends: Backends, payload: bytes) -> Any:
    from domain.events.contracts import UndecodableError

    try:
        return dict(backends.decode(payload))
    except UndecodableError as error:
        return str(error)


def _print_json(value: Any) -> None:
    import msgspec

    echo(msgspec.json.encode(value))
