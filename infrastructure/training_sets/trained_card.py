"""Trains a model on a training set, judges it on the newest orders, and writes the directory with its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from domain.features.eta.packaged import PATH, packaged_baseline
from infrastructure.eta_models.model_files import MANIFEST, ModelManifest
from infrastructure.training_sets.calibrated import calibrated
from infrastructure.training_sets.eta_set import EtaSet
from infrastructure.training_sets.evaluate_eta import EtaEvaluation, answers_of, evaluate, evaluation_of
from infrastructure.training_sets.model_card import card
from infrastructure.training_sets.model_rows import model_rows
from infrastructure.training_sets.time_split import placed_by_ms
from infrastructure.training_sets.train_eta import (
    OnStep,
    TrainedEta,
    TrainingOptions,
    train,
    with_evaluation,
    write_model,
)


def judged_as_served(made: TrainedEta, axis: str) -> EtaEvaluation:
    """The errors on the test part, calibrated as serving would have: by the ends known before each answer.

    The validation part is not scored; its ends teach the calibration, as those of the last weeks do when a model is
    promoted. ``axis``: that of the set.
    """
    later = made.later
    judged, test = answers_of(made.tested, later), later.placed_ms >= made.split.test_ms
    adjusted = calibrated(later, judged.answers, later.end_known_ms(axis), test)
    raw = judged.of(test)
    answered = msgspec.structs.replace(raw, answers=adjusted)
    return evaluation_of(made.tested, later.of(test), answered, by_order=False, uncalibrated=raw.answers)


def train_with_card(
    training_set: EtaSet, out: Path, options: TrainingOptions, on_step: OnStep
) -> tuple[TrainedEta, EtaEvaluation]:
    """Write the directory ``out``. Raises ValueError for a set that cannot be split, UserError for a damaged one."""
    baseline, text = packaged_baseline(), PATH.read_bytes()
    on_step("reading the rows")
    rows = model_rows(training_set.rows(), baseline, None)
    manifest = training_set.manifest
    if options.known_by_share is not None:
        options = replace(options, known_by_ms=placed_by_ms(rows, options.known_by_share))
    if options.known_by_ms is not None:
        # A city that opened later is unknown to the model: its number would be one of which it was taught nothing.
        rows = rows.of(rows.end_known_ms(manifest.axis) < options.known_by_ms).of_own_cities()
    origin = {
        "data_digest": manifest.data_digest,
        "manifest_digest": training_set.manifest_digest,
        "log_id": manifest.log_id,
        "last_position": manifest.last_position,
        "axis": manifest.axis,
        "rule": manifest.rule.kind,
        "rows": manifest.rows,
        "censored": manifest.censored,
        "orders": manifest.orders,
    }
    made = train(rows, baseline, text, options, origin, on_step)
    on_step("judging the newest orders")
    found = judged_as_served(made, manifest.axis)
    left_out = {one.group: round(one.worth_s, 3) for one in made.left_out}
    evaluation = {"test": msgspec.to_builtins(found), "left_out_worth_s": left_out}
    read = msgspec.json.decode(made.files[MANIFEST], type=ModelManifest)
    cards = card(read, found, evaluate(baseline, made.test, by_order=False), made.left_out)
    files = with_evaluation(made.files, evaluation, cards)
    write_model(out, files)
    return made, found
