"""``training-set``: rows to train an ETA on, from answers that were served or from any instants of the past."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from infrastructure.cli.engines import ClusterOption, Engine, PartsEngineOption, parts_elsewhere
from infrastructure.cli.options import WORKERS, DataDirOption, JsonOption, WorkersOption
from infrastructure.cli.output import echo, echo_json
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.operations.training_set import Made
    from infrastructure.settings.settings import Settings
    from infrastructure.training_sets.eta_request import EtaRequest
    from infrastructure.training_sets.eta_set import EtaManifest, EtaRule
    from projections.replay.as_of import Axis

MIN_EVERY_MS = 1_000
_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000}
MAX_EXAMPLES = 20


class _Selection(NamedTuple):
    """The options that select the rows."""

    since: str | None
    every: str | None
    at_events: str | None
    instants: Path | None
    axis: str | None
    position: int | None

    @property
    def is_empty(self) -> bool:
        return all(value is None for value in self)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("training-set")(training_set)


def training_set(
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the rows and the manifest.")],
    since: Annotated[
        str | None,
        typer.Option("--since", help="Of answers on record: those as of then. Epoch milliseconds, or RFC 3339."),
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Instead: a row at each interval of each order's life: 30s, 5m, 1h.")
    ] = None,
    at_events: Annotated[
        str | None,
        typer.Option(help="Instead: a row at each of these steps: placed,assigned,unassigned,picked_up,arrived."),
    ] = None,
    instants: Annotated[
        Path | None, typer.Option(help="Instead: a CSV file with order_id,time or order_id,position.")
    ] = None,
    axis: Annotated[
        str | None,
        typer.Option(
            help="known: by the events recorded by each instant; position: by the log up to a position; event: by the "
            "events that had happened, whenever they were recorded (for imported histories).  \\[default: known]"
        ),
    ] = None,
    position: Annotated[int | None, typer.Option(min=1, help="Read the log up to here.  \\[default: all]")] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Recreate the rows of this manifest, and check that the bytes are the same.")
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="ROW", help="Of the set in --out: where each value of a row comes from. 17 or ORDER:AT_MS."
        ),
    ] = None,
    workers: WorkersOption = WORKERS,
    engine: PartsEngineOption = Engine.HERE,
    cluster: ClusterOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a training set of ETAs: what was known at an instant of an order, and how long it then really took.

    By default it has one row for each ETA on record, recomputed from the events at the positions that the answer
    names; an answer that differs by one byte gets no row and is an error. With a rule it has the ETAs that would have
    been served. Orders that were cancelled or are still open are marked as censored. After an abort, run the same
    command again and it continues. The manifest lists everything that the bytes depend on:

      training-set --out week
      training-set --at-events placed,picked_up --axis event --out imported
      training-set --manifest week/manifest.json --out again

    gives the same bytes, even if the log has grown since. So do any number of workers, here or on a cluster
    (docs/flink.md).
    """
    import msgspec

    from infrastructure.backends import EVENT_STORE_SETTINGS
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.settings.settings import Settings
    from infrastructure.training_sets.eta_set import differences, read_eta_manifest

    selection = _Selection(since, every, at_events, instants, axis, position)
    wanted = None if manifest is None else read_eta_manifest(manifest)
    if explain is not None and (wanted is not None or not selection.is_empty or engine is not Engine.HERE):
        raise typer.BadParameter("--explain reads the set in --out: give no other options of a set with it")
    if wanted is not None and not selection._replace(instants=None).is_empty:
        raise typer.BadParameter("--manifest says what to write: give no rule, axis or position with it")
    rule = None if explain is not None or wanted is not None else _rule(selection)
    loaded = Settings.load({"data_dir": data_dir, "flink_url": cluster})
    with expected_as_user_error(), servers_for(loaded, EVENT_STORE_SETTINGS) as settings:
        if explain is not None:
            _explain(settings, out, explain)
            return
        began = time.monotonic()
        if wanted is not None:
            request = _request_of(settings, wanted)
        else:
            assert rule is not None
            request = _request(settings, rule, _axis(selection), position)
        made = _make(settings, request, out, workers, instants, engine)
        seconds = time.monotonic() - began
    if as_json:
        echo(msgspec.json.encode({**msgspec.to_builtins(made.manifest), "examples": made.examples[:MAX_EXAMPLES]}))
    else:
        _print(out, made.manifest, seconds)
    _refuse_differences(made, wanted, differences(wanted, made.manifest) if wanted is not None else [], manifest)


def _refuse_differences(made: Made, wanted: EtaManifest | None, different: list[str], manifest: Path | None) -> None:
    """Raises UserError if an answer on record is not what the log gives, or if the bytes are not those wanted."""
    for example in made.examples[:MAX_EXAMPLES]:
        echo(example, err=True)
    if different:
        raise UserError(f"the bytes differ from those of {manifest}: {'; '.join(different)}")
    if wanted is not None:
        echo(f"the bytes are the same as those of {manifest}", err=True)
    if made.manifest.different:
        raise UserError(
            f"{made.manifest.different:,} answers on record are not what the log gives, and have no row: run "
            "`verify-parity eta`, which says which read model to rebuild"
        )


def _print(out: Path, made: EtaManifest, seconds: float) -> None:
    echo(
        f"{out}: {made.rows:,} rows of {made.orders:,} orders, {made.censored:,} censored, from {made.events:,} events"
    )
    left_out = {f"answers {name}": count for name, count in made.undecided.items()}
    left_out |= {f"instants {_SKIPPED[name]}": count for name, count in made.skipped.items() if count}
    for name, count in left_out.items():
        echo(f"without a row: {count:,} {name}")
    echo(f"manifest {out / 'manifest.json'}, data digest {made.data_digest[:16]}")
    echo(f"{made.rows:,} rows in {seconds:.1f} s, {made.rows / max(seconds, 1e-3):,.0f} rows/s", err=True)


_SKIPPED = {
    "unknown": "at which the order was not known",
    "over": "at which the order was over",
    "late": "after the last event of the set",
    "untimed": "of imported steps whose time is not known",
}


def _make(
    settings: Settings, request: EtaRequest, out: Path, workers: int, instants: Path | None, engine: Engine
) -> Made:
    from contextlib import ExitStack

    from infrastructure.cli.progress import progress
    from infrastructure.operations.training_set import make_eta_set

    elsewhere = parts_elsewhere(engine, settings, workers, lambda note: echo(f"training-set: {note}", err=True))
    with ExitStack() as stack:
        shown: dict[str, object] = {}

        def show(stage: str, what: str, done: int, total: int) -> None:
            if stage not in shown:
                stack.close()
                shown[stage] = stack.enter_context(progress(stage, what))
            reporter = shown[stage]
            assert callable(reporter)
            reporter(done, total)

        return make_eta_set(settings, request, out, workers, show, instants=instants, elsewhere=elsewhere)


def _request(settings: Settings, rule: EtaRule, axis: Axis, position: int | None) -> EtaRequest:
    from infrastructure.operations.training_set_request import resolve

    return resolve(settings, rule, axis, position)


def _request_of(settings: Settings, wanted: EtaManifest) -> EtaRequest:
    from infrastructure.operations.training_set_request import require_same_code, resolve

    require_same_code(wanted)
    axis = wanted.axis
    assert axis in {"known", "position", "event"}
    request = resolve(settings, wanted.rule, axis, wanted.last_position)  # type: ignore[arg-type]
    if request.log_id != wanted.log_id:
        raise UserError(
            f"the manifest was made from the log {wanted.log_id}; this log is {request.log_id}: is it another database?"
        )
    return request


def _rule(selection: _Selection) -> EtaRule:
    """Check the options. Raises BadParameter, UserError."""
    from infrastructure.timestamps import time_ms
    from infrastructure.training_sets.eta_request import AT_EVENTS, EVERY, INSTANTS, SERVED, STEP_TYPES
    from infrastructure.training_sets.eta_set import EtaRule
    from infrastructure.training_sets.instants_file import POSITION, file_sha256, instants_column

    since, every, at_events, instants, axis, _ = selection
    if [every, at_events, instants].count(None) < 2:
        raise typer.BadParameter("--every, --at-events and --instants are three rules: give one")
    if every is not None or at_events is not None or instants is not None:
        if since is not None:
            raise typer.BadParameter("--since selects answers on record: give no rule with it")
        if every is not None:
            return EtaRule(EVERY, every_ms=_every(every))
        if instants is not None:
            if (instants_column(instants) == POSITION) != (axis == "position"):
                raise typer.BadParameter("a file with positions needs --axis position, and one with times another axis")
            return EtaRule(INSTANTS, instants_sha256=file_sha256(instants))
        events = [name for name in (at_events or "").split(",") if name]
        if not events or not set(events) <= set(STEP_TYPES):
            raise typer.BadParameter(f"--at-events lists steps of an order: {', '.join(STEP_TYPES)}")
        return EtaRule(AT_EVENTS, events=sorted(set(events), key=list(STEP_TYPES).index))
    if axis is not None or selection.position is not None:
        raise typer.BadParameter("--axis and --position need a rule: an answer on record names its own positions")
    try:
        return EtaRule(SERVED, since_ms=0 if since is None else time_ms(since))
    except ValueError as error:
        raise typer.BadParameter(f"--since: {error}") from error


def _axis(selection: _Selection) -> Axis:
    if selection.axis not in {None, "known", "position", "event"}:
        raise typer.BadParameter(f"--axis is known, position or event, not {selection.axis!r}")
    return "event" if selection.axis == "event" else "position" if selection.axis == "position" else "known"


def _every(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})(s|m|h)", text)
    if match is None or int(match[1]) * _UNITS[match[2]] < MIN_EVERY_MS:
        raise typer.BadParameter(f"--every must be a duration of at least a second, such as 30s or 5m, not {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def _explain(settings: Settings, folder: Path, wanted: str) -> None:
    from infrastructure.backends import open_backends
    from infrastructure.cli.progress import progress
    from infrastructure.operations.explain_eta_row import explain_row, find_row
    from infrastructure.training_sets.eta_set import EtaSet

    eta_set = EtaSet(folder)
    row = find_row(eta_set, wanted)
    folded = 0
    with open_backends(settings) as backends, progress("city", "events") as show:

        def on_events(events: int) -> None:
            nonlocal folded
            folded += events
            show(folded, eta_set.manifest.last_position)

        found = explain_row(backends, eta_set.manifest, row, on_events)
    echo_json(found)
    if not found["equal"]:
        raise UserError(f"the replay gives other values of {', '.join(found['different'])} than the row has")
