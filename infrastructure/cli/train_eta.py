"""``train-eta``: trains a model of the ETA on a training set, and writes its directory and its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infrastructure.cli.options import JsonOption, optional_time
from infrastructure.cli.output import echo, echo_json, echo_lines
from infrastructure.errors import UserError

if TYPE_CHECKING:
    from infrastructure.training_sets.train_eta import TrainedEta, TrainingOptions


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train-eta")(train_eta)


def train_eta(
    training_set: Annotated[Path, typer.Argument(metavar="SET", help="Folder of a training set.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the model; it must be empty or new.")],
    name: Annotated[str, typer.Option(help="Name of the model in answers.")] = "learned",
    seed: Annotated[int, typer.Option(min=0, help="Of the rows and inputs that each tree draws.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Part of what the bytes depend on.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, max=2_000, help="Trees a quantile, at most.")] = 400,
    without: Annotated[
        str | None, typer.Option(metavar="INPUTS", help="Inputs to do without, by comma; 'promise' names all of it.")
    ] = None,
    known_by: Annotated[
        str | None,
        typer.Option(
            help="Only orders whose end was known by then: epoch milliseconds, RFC 3339 with zone, or a share such as "
            "75%, the instant before which so many orders were placed. Judge the model on later ones: eval-eta "
            "--placed-from."
        ),
    ] = None,
    leave_out: Annotated[
        bool, typer.Option("--leave-out/--no-leave-out", help="Measure the worth of inputs by training without them.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Train an ETA on a training set: what the baseline, and the promise of an order, leave unexplained.

    The newest 15 % of orders are the test, the 15 % before them set the number of trees and the calibration. The same
    command gives the same bytes on one machine. The card in DIR shows errors by leg, hour, distance and week.
    """
    from infrastructure.eta_models.model_files import MAX_NAME
    from infrastructure.training_sets.train_eta import TrainingOptions

    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise typer.BadParameter(f"--name has 1 to {MAX_NAME} printable characters")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: name another folder, so that no model is overwritten")
    share = _share(known_by)
    options = TrainingOptions(
        name,
        seed,
        threads,
        rounds,
        without=_without(without),
        leave_out=leave_out,
        known_by_ms=None if share is not None else optional_time("--known-by", known_by),
        known_by_share=share,
    )
    made = _train(training_set, out, options)
    if as_json:
        echo_json({"model": made.model.digest, "directory": str(out), "known_by_ms": made.known_by_ms})
    else:
        echo(f"{out}: model {made.model.digest[:12]}; card {out / 'card.html'}")
        later = "" if made.known_by_ms is None else f" --placed-from {made.known_by_ms} --by-order --calibrate"
        echo(f"judge it: eval-eta {out} {'SET' if made.known_by_ms is None else training_set}{later}")
        echo(f"promote it: models promote {out}")


def _share(text: str | None) -> float | None:
    """A share of orders, such as 75%; None for a time. Raises BadParameter."""
    if text is None or not text.endswith("%"):
        return None
    try:
        share = float(text.removesuffix("%")) / 100.0
    except ValueError:
        share = 0.0
    if not 0.0 < share < 1.0:
        raise typer.BadParameter(f"--known-by: a share is between 0% and 100%, not {text!r}")
    return share


def _without(text: str | None) -> tuple[str, ...]:
    from domain.features.eta.learned.inputs import INPUTS, PROMISE_INPUTS

    names = [name for name in (text or "").split(",") if name]
    found = tuple(one for name in names for one in (PROMISE_INPUTS if name == "promise" else (name,)))
    unknown = sorted(set(found) - set(INPUTS))
    if unknown:
        raise typer.BadParameter(f"--without: no input {', '.join(unknown)}; there are {', '.join(INPUTS)}")
    return found


def _train(folder: Path, out: Path, options: TrainingOptions) -> TrainedEta:
    from infrastructure.training_sets.boosting import library
    from infrastructure.training_sets.eta_set import EtaSet
    from infrastructure.training_sets.evaluate_eta import lines
    from infrastructure.training_sets.trained_card import train_with_card

    library()
    whole = EtaSet(folder)
    echo(f"{folder}: {whole.manifest.rows:,} rows of {whole.manifest.orders:,} orders", err=True)
    try:
        made, found = train_with_card(whole, out, options, lambda step: echo(step, err=True))
    except ValueError as error:
        raise UserError(f"{folder} cannot be trained on: {error}") from error
    echo_lines(lines(found), err=True)
    return made
