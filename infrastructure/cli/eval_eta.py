"""``eval-eta``: judges any model of the ETA on any training set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from infrastructure.cli.options import DataDirOption, JsonOption, optional_time
from infrastructure.cli.output import echo, echo_lines
from infrastructure.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from domain.features.eta.baseline import Baseline
    from domain.features.eta.learned.model import LearnedEta
    from infrastructure.eta_models.model_files import ModelManifest
    from infrastructure.training_sets.eta_scores import Answers
    from infrastructure.training_sets.eta_set import EtaManifest
    from infrastructure.training_sets.evaluate_eta import JudgedAnswers
    from infrastructure.training_sets.model_pair import PairScores
    from infrastructure.training_sets.model_rows import Integers, ModelRows

BASELINE = "baseline"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval-eta")(eval_eta)


def eval_eta(
    model: Annotated[str, typer.Argument(help="Folder of a model, digest of one in the registry, or 'baseline'.")],
    training_set: Annotated[Path, typer.Argument(metavar="SET", help="Folder of a training set.")],
    by_order: Annotated[
        bool, typer.Option("--by-order", help="One answer an order, its earliest, instead of each row.")
    ] = False,
    placed_from: Annotated[
        str | None, typer.Option(help="Orders placed from then on: epoch milliseconds, or RFC 3339 with zone.")
    ] = None,
    placed_to: Annotated[str | None, typer.Option(help="Orders placed before then.")] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Adjust P50 and P90 by the ends that were known, as serving does.")
    ] = False,
    beside: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Another model: the change in MAE, and how far the ETAs differ.")
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a model on a training set, beside the baseline, the platform's promise and what was served.

    Errors, coverage of P50 and P90, losses of the quantiles (pinball, CRPS), and how restless the answers of an order
    are; by leg, local hour, distance and week. Orders without an end are left out. With --calibrate all orders of the
    set are outcomes, also those that --placed-from leaves out of the scores.
    """
    import msgspec

    from infrastructure.training_sets.evaluate_eta import evaluation_of, lines
    from infrastructure.training_sets.model_pair import pair_lines

    from_ms, until_ms = optional_time("--placed-from", placed_from), optional_time("--placed-to", placed_to)
    choice = _Choice(training_set, from_ms, until_ms, calibrate, by_order, data_dir)
    one = _answered(model, choice)
    other = None if beside is None else _answered(beside, choice)
    try:
        found = evaluation_of(one.model, one.rows, one.judged, by_order=by_order, uncalibrated=one.uncalibrated)
        pair = None if other is None else _pair(one, other, choice)
    except ValueError as error:
        raise UserError(f"{training_set} judges no model: {error}") from error
    if as_json:
        echo(msgspec.json.encode(found if pair is None else {**msgspec.to_builtins(found), "beside": pair}))
    else:
        echo_lines([*lines(found), *([] if pair is None else pair_lines(pair))])


class _Choice(NamedTuple):
    """What every model of one command is asked. ``from_ms``, ``until_ms``: when its orders were placed, epoch ms."""

    folder: Path
    from_ms: int | None
    until_ms: int | None
    calibrate: bool
    by_order: bool
    data_dir: Path | None


class _Answered(NamedTuple):
    """The chosen rows as a model sees them, and its answers to them."""

    model: LearnedEta | Baseline
    rows: ModelRows
    judged: JudgedAnswers
    uncalibrated: Answers | None


def _answered(name: str, choice: _Choice) -> _Answered:
    import msgspec

    from infrastructure.training_sets.calibrated import calibrated
    from infrastructure.training_sets.evaluate_eta import answers_of

    model, manifest = _model(name, choice.data_dir)
    rows, of_set = _rows(choice.folder, model)
    chosen = _chosen(rows.placed_ms, choice)
    of_all = answers_of(model, rows)
    judged, uncalibrated = of_all.of(chosen), None
    if choice.calibrate:
        adjusted = calibrated(rows, of_all.answers, rows.end_known_ms(of_set.axis), chosen)
        uncalibrated, judged = judged.answers, msgspec.structs.replace(judged, answers=adjusted)
    _warn_of_trained_orders(model.digest, manifest, of_set.log_id, rows.placed_ms[chosen])
    return _Answered(model, rows.of(chosen), judged, uncalibrated)


def _chosen(placed_ms: Integers, choice: _Choice) -> NDArray[np.bool_]:
    """Which rows are of orders that were placed at the time asked for. Raises UserError for none of some."""
    from domain.timestamps import utc_datetime

    chosen = placed_ms >= (choice.from_ms or 0)
    if choice.until_ms is not None:
        chosen &= placed_ms < choice.until_ms
    if len(placed_ms) and not chosen.any():
        first, last = (utc_datetime(int(ms)).isoformat(timespec="seconds") for ms in (placed_ms.min(), placed_ms.max()))
        raise UserError(
            f"{choice.folder} has no finished order of that time: its orders were placed from {first} to {last}; "
            "change --placed-from or --placed-to"
        )
    return chosen


def _pair(one: _Answered, other: _Answered, choice: _Choice) -> PairScores:
    """Raises ValueError without rows. The rows of both are in the order of the set."""
    from infrastructure.training_sets.eta_scores import Truth
    from infrastructure.training_sets.evaluate_eta import first_of_each_order
    from infrastructure.training_sets.model_pair import pair_scores

    rows, answers, others = one.rows, one.judged.answers, other.judged.answers
    if choice.by_order:
        first = first_of_each_order(rows)
        rows, answers, others = rows.of(first), answers.of(first), others.of(first)
    truth = Truth(rows.label_s, rows.at_ms, rows.orders)
    return pair_scores(other.model.name, other.model.digest, answers, others, truth)


def _model(name: str, data_dir: Path | None) -> tuple[LearnedEta | Baseline, ModelManifest | None]:
    """The model and its manifest; the baseline has none."""
    from domain.features.eta.packaged import packaged_baseline
    from infrastructure.eta_models.model_files import MANIFEST, load_folder, read_model_manifest

    if name == BASELINE:
        return packaged_baseline(), None
    if Path(name).is_dir():
        return load_folder(Path(name)), read_model_manifest((Path(name) / MANIFEST).read_bytes())
    return _of_registry(name, data_dir)


def _of_registry(start: str, data_dir: Path | None) -> tuple[LearnedEta, ModelManifest]:
    from infrastructure.backends import EVENT_STORE_SETTINGS, open_backends
    from infrastructure.cli.error_handling import expected_as_user_error
    from infrastructure.embedded.stack import servers_for
    from infrastructure.eta_models.model_files import MANIFEST, ModelUnavailable, read_model_manifest
    from infrastructure.eta_models.registry import ModelRegistry
    from infrastructure.eta_models.served_models import LoadedModels
    from infrastructure.settings.settings import Settings

    with (
        expected_as_user_error(),
        servers_for(Settings.load({"data_dir": data_dir}), EVENT_STORE_SETTINGS) as settings,
        open_backends(settings) as backends,
    ):
        registry = ModelRegistry(backends.engine)
        digest = registry.digest_starting(start)
        try:
            model = LoadedModels(registry).learned(digest)
            return model, read_model_manifest(registry.files(digest)[MANIFEST])
        except ModelUnavailable as error:
            raise UserError(f"{digest[:12]} cannot be judged: {error}") from error


def _rows(folder: Path, model: LearnedEta | Baseline) -> tuple[ModelRows, EtaManifest]:
    """The rows of the set as the model sees them, and its manifest."""
    from domain.features.eta.baseline import Baseline
    from infrastructure.training_sets.eta_set import EtaSet
    from infrastructure.training_sets.model_rows import model_rows

    whole = EtaSet(folder)
    if isinstance(model, Baseline):
        return model_rows(whole.rows(), model, None), whole.manifest
    return model_rows(whole.rows(), model.baseline, model.spec.cities, model.spec.places), whole.manifest


def _warn_of_trained_orders(digest: str, manifest: ModelManifest | None, log_id: str, placed_ms: Integers) -> None:
    """Errors on orders that a model was trained on look smaller than they will be."""
    if manifest is None:
        return
    until_ms = manifest.training.get("placed_until_ms")
    if until_ms is None or manifest.training_set.get("log_id") != log_id:
        return
    seen = int((placed_ms <= until_ms).sum())
    if seen:
        echo(
            f"warning: {seen:,} of {len(placed_ms):,} rows are of orders from the time that the model was trained on "
            f"({digest[:12]}), "
            f"so errors look too small: judge later ones with --placed-from {until_ms + 1}, or train with --known-by",
            err=True,
        )
