"""``feature-history``: writes the values of a projection over time, for many keys, as a training set."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from infrastructure.cli.engines import ClusterOption, Engine, PartsEngineOption, parts_elsewhere
from infrastructure.cli.options import WORKERS, DataDirOption, JsonOption, WorkersOption
from infrastructure.cli.output import echo
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.settings.settings import Settings
    from infrastructure.training_sets.history_shards import BoundHistory
    from infrastructure.training_sets.manifest import Manifest
    from projections.replay.as_of import AsOf

MAX_TICKS = 10_000_000
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


class TimeSpan(NamedTuple):
    """The instants of a history, in epoch milliseconds; both ends are inclusive."""

    from_ms: int
    to_ms: int
    every_ms: int


class HistorySelection(NamedTuple):
    """The options that select the rows of a history; ``keys`` None: all keys."""

    projection: str
    keys: list[str] | None
    span: TimeSpan
    axis: str
    position: int | None
    allow_expired: bool


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("feature-history")(feature_history)


def feature_history(
    out: Annotated[
        Path, typer.Option(metavar="FILE.parquet", help="File for the rows; the manifest is written next to it.")
    ],
    projection: Annotated[str, typer.Argument(help="The projection.")] = "speed",
    keys: Annotated[str | None, typer.Option(help="Keys, separated by commas.  \\[default: all]")] = None,
    keys_file: Annotated[Path | None, typer.Option(help="Instead of --keys: a file with one key per line.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="First instant: epoch milliseconds, or RFC 3339 with zone.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Last instant, inclusive.")] = None,
    every: Annotated[str, typer.Option(help="Interval between instants: 500ms, 1s, 5m, 1h.")] = "1s",
    axis: Annotated[
        str,
        typer.Option(
            help="known: by the events recorded by each instant (transaction time); event: by those that had happened "
            "(event time)."
        ),
    ] = "known",
    position: Annotated[
        int | None, typer.Option(min=0, help="With --axis event: read the log up to here.  \\[default: all]")
    ] = None,
    allow_expired: Annotated[
        bool, typer.Option("--allow-expired", help="Keep the values of windows past their time to live.")
    ] = False,
    manifest: Annotated[
        Path | None, typer.Option(help="Recreate the rows of this manifest, and check that the bytes are the same.")
    ] = None,
    workers: WorkersOption = WORKERS,
    engine: PartsEngineOption = Engine.HERE,
    cluster: ClusterOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what a projection served, or would have served, for many keys at every tick of a time span.

    There is one row per key and tick, from the first tick at which the key is known. On the axis known, a row uses
    only what was recorded by its tick: no value leaks from the future. The command reads the events once, in bounded
    memory; after an abort, run it again and it continues. The manifest next to the file lists everything that its
    bytes depend on:

      feature-history speed --from … --to … --out a.parquet
      feature-history --manifest a.parquet.manifest.json --out b.parquet

    gives the same bytes, even if the log has grown since. So do any number of workers, here or on a cluster
    (docs/flink.md).
    """
    import msgspec

    from infrastructure.backends import EVENT_STORE_SETTINGS
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings
    from infrastructure.training_sets.manifest import differences, manifest_path, read_manifest

    if out.suffix != ".parquet":
        raise typer.BadParameter(f"--out writes Parquet: {out.name}.parquet?")
    wanted = None if manifest is None else read_manifest(manifest)
    if wanted is not None and (keys or keys_file or since or to or position is not None):
        raise typer.BadParameter("--manifest says what to write: give no keys, times or position with it")
    if manifest is not None and manifest.resolve() == manifest_path(out).resolve():
        # Writing would delete the rows to compare with.
        raise typer.BadParameter(f"--out {out} is the file of that manifest: name another file")
    loaded = Settings.load({"data_dir": data_dir, "flink_url": cluster})
    with expected_as_user_error(), servers_for(loaded, EVENT_STORE_SETTINGS) as settings:
        if wanted is not None:
            history = _request_of(settings, wanted)
        else:
            span = TimeSpan(_time("--from", since), _time("--to", to), _every(every))
            selection = HistorySelection(projection, _keys(keys, keys_file), span, axis, position, allow_expired)
            history = _request(settings, selection)
        made = _make(settings, history, out, workers, engine)
    if as_json:
        echo(msgspec.json.encode(made))
    else:
        echo(f"{out}: {made.rows:,} rows from {made.keys:,} keys and {made.events:,} events")
        echo(f"manifest {manifest_path(out)}, data digest {made.data_digest[:16]}")
    different = [] if wanted is None else differences(wanted, made)
    if different:
        raise UserError(f"the bytes differ from those of {manifest}: {'; '.join(different)}")
    if wanted is not None:
        echo(f"the bytes are the same as those of {manifest}", err=True)


def _make(settings: Settings, history: BoundHistory, out: Path, workers: int, engine: Engine) -> Manifest:
    from infrastructure.cli.progress import progress
    from infrastructure.training_sets.feature_history import make_history

    began = time.monotonic()
    elsewhere = parts_elsewhere(engine, settings, workers, lambda note: echo(f"history: {note}", err=True))
    with progress("history", "events") as show:
        made = make_history(settings, history, out, workers, show, elsewhere=elsewhere)
    echo(f"{made.events:,} events, {made.rows:,} rows in {time.monotonic() - began:.1f} s", err=True)
    return made


def _request(settings: Settings, wanted: HistorySelection) -> BoundHistory:
    """Check the options and resolve them to a position of the log. Raises BadParameter, UserError."""
    from infrastructure.backends import projection_named
    from infrastructure.training_sets.feature_history import horizon_of
    from infrastructure.training_sets.history_shards import BoundHistory, HistoryRequest

    name, keys, span, axis, position, allow_expired = wanted
    as_of = _as_of(axis, span.to_ms, position)
    if projection_named(name).view is None:
        raise UserError(f"{name} serves rows, not values of a key: name a projection with a view, for example speed")
    if span.to_ms < span.from_ms:
        raise typer.BadParameter("--to is before --from")
    if (span.to_ms - span.from_ms) // span.every_ms >= MAX_TICKS:
        raise typer.BadParameter(f"more than {MAX_TICKS:,} instants: give a longer --every, or a shorter span")
    horizon = horizon_of(settings, as_of)
    limits = (settings.target_freshness_ms, settings.feature_ttl_ms)
    request = HistoryRequest(name, keys, *span, axis, horizon.position, *limits, allow_expired=allow_expired)
    return BoundHistory(request, horizon)


def _as_of(axis: str, to_ms: int, position: int | None) -> AsOf:
    from projections.replay.as_of import AsOfProblem, InvalidAsOf, checked_as_of

    try:
        as_of = checked_as_of(lambda: to_ms, axis, position)
    except InvalidAsOf as error:
        if error.problem is AsOfProblem.UNKNOWN_AXIS:
            raise typer.BadParameter(f"--axis is known or event, not {axis!r}") from error
        raise typer.BadParameter(
            "--position needs --axis event; on the axis known, --to determines the position"
        ) from error
    assert as_of is not None, "an instant names a past"
    return as_of


def _request_of(settings: Settings, wanted: Manifest) -> BoundHistory:
    from infrastructure.backends import projection_named
    from infrastructure.training_sets.feature_history import horizon_of
    from infrastructure.training_sets.history_shards import BoundHistory
    from infrastructure.training_sets.manifest import require_same_code

    request = wanted.request
    require_same_code(wanted, projection_named(request.projection))
    position = request.position if request.axis == "event" else None
    horizon = horizon_of(settings, _as_of(request.axis, request.to_ms, position))
    if str(horizon.log_id) != wanted.log_id or horizon.position != request.position:
        raise UserError(
            f"the manifest was made from log {wanted.log_id} up to position {request.position:,}; this log is "
            f"{horizon.log_id} and is at {horizon.position:,} by then: is it another database, or an older backup?"
        )
    return BoundHistory(request, horizon)


def _keys(given: str | None, file: Path | None) -> list[str] | None:
    if given is not None and file is not None:
        raise typer.BadParameter("give --keys or --keys-file, not both")
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file} cannot be read: {error}") from error
        found = sorted({line for line in lines if line})
    elif given is not None:
        found = sorted({key for key in given.split(",") if key})
    else:
        return None
    if not found:
        # An empty list must not mean "all keys", and a file without rows is of no use.
        raise typer.BadParameter("no key is named; for all keys omit --keys and --keys-file")
    return found


def _time(option: str, text: str | None) -> int:
    from infrastructure.timestamps import time_ms

    if text is None:
        raise typer.BadParameter(f"{option} is needed: epoch milliseconds, or RFC 3339 with zone")
    try:
        return time_ms(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from error


def _every(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h)", text)
    if match is None or int(match[1]) == 0:
        raise typer.BadParameter(f"--every must be a duration such as 500ms, 1s, 5m or 1h, not {text!r}")
    return int(match[1]) * _UNITS[match[2]]
