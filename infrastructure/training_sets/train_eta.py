"""Trains an ETA on the rows of a training set: the residual over the baseline and the promise, at nine quantiles.

The rounds and the offsets of the calibration come from the validation part, the errors of the card from the test part,
which is later in time. The trees that are shipped are then learned again from all rows, with the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.features.eta.baseline import Baseline
from domain.features.eta.learned.inputs import INPUTS, PROMISE_INPUTS, RESTAURANT_EFFECT, SHIFT_S
from domain.features.eta.learned.model import LEARNED_FORMULA, LEVELS, MEDIAN, LearnedEta
from domain.features.eta.learned.trees import LEAF, Tree
from infrastructure.eta_models.batch_trees import TreeBatch
from infrastructure.eta_models.model_files import (
    BASELINE,
    FORMAT,
    MANIFEST,
    TREES,
    ModelBounds,
    ModelManifest,
    ModelSpec,
    digest_of,
    load,
    trees_text,
)
from infrastructure.training_sets.boosting import BoostingRequest, LabelledRows, boosted, library, parameters
from infrastructure.training_sets.feature_reference import feature_references
from infrastructure.training_sets.input_worth import InputLearning, LeftOut, worth_of_inputs
from infrastructure.training_sets.manifest import numeric_fingerprint
from infrastructure.training_sets.model_rows import ModelRows
from infrastructure.training_sets.place_effects import LearnedPlaces, learn_places
from infrastructure.training_sets.residual import base_of, residual_of
from infrastructure.training_sets.time_split import Mask, TimeSplit, split_by_time

Floats = NDArray[np.float64]

MAX_ROUNDS: Final = 400
PROMISE_WEIGHTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
MIN_PROMISED_ROWS: Final = 100
"""With fewer the weight of the promise is 0."""
UNBOUNDED_INPUTS: Final = ("local_time_of_day_h", "local_day_of_week", RESTAURANT_EFFECT)
"""Numbers of a cycle have no end that could be passed: a set of five days must not send the sixth to the baseline. What
the model's own table says is inside by definition."""
BOUNDS_MARGIN: Final = 0.5
"""Of the range of an input: a value that is this much outside is not yet called unseen."""
OnStep = Callable[[str], None]
"""Called before each step of the training, with its name."""


@dataclass(frozen=True)
class TrainingOptions:
    """``without``: inputs that the model must not have. ``leave_out``: whether the worth of inputs is measured.

    ``known_by_ms``: of the set, only the orders whose end was known before that instant; None: all. ``known_by_share``
    instead of it: the instant by which this share of the orders was placed.
    """

    name: str
    seed: int = 1
    threads: int = 1
    max_rounds: int = MAX_ROUNDS
    validation_share: float = 0.15
    test_share: float = 0.15
    without: tuple[str, ...] = ()
    leave_out: bool = True
    known_by_ms: int | None = None
    known_by_share: float | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(name for name in INPUTS if name not in self.without)


@dataclass(frozen=True)
class TrainedEta:
    """``model`` is the shipped one; ``tested`` the one without the test part, whose errors the card shows.

    ``later``: the rows of the validation and of the test part, as ``tested`` has them. ``known_by_ms``: of the options.
    """

    files: dict[str, bytes]
    model: LearnedEta
    tested: LearnedEta
    tested_trees: list[list[Tree]]
    split: TimeSplit
    later: ModelRows
    known_by_ms: int | None
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def test(self) -> ModelRows:
        """The rows of the test part, as ``tested`` has them."""
        return self.later.of(self.later.placed_ms >= self.split.test_ms)


def train(
    rows: ModelRows,
    baseline: Baseline,
    baseline_text: bytes,
    options: TrainingOptions,
    origin: Mapping[str, Any],
    on_step: OnStep = lambda _: None,
) -> TrainedEta:
    """``origin``: of the set, for the manifest. Raises ValueError for too few rows, and UserError as ``library``."""
    axis = str(origin.get("axis", "known"))
    split = split_by_time(rows, rows.end_known_ms(axis), options.validation_share, options.test_share)
    weight = _promise_weight(rows, split, options)
    target = residual_of(rows, weight)
    places = _places(rows, target, split, options, axis)
    rows, without = places.rows, list(options.without)
    if places.half_at is None:
        options = replace(options, without=(*options.without, RESTAURANT_EFFECT))
    columns = [INPUTS.index(name) for name in options.inputs]
    matrix = np.ascontiguousarray(rows.inputs[:, columns])
    first: list[list[Tree]] = []
    final: list[list[Tree]] = []
    offsets = []
    for level in LEVELS:
        on_step(f"quantile {level:g}")
        request = BoostingRequest(level, options.max_rounds, options.seed, options.threads)
        trees = boosted(request, _rows(matrix, target, split.training), _rows(matrix, target, split.validation))
        left = target[split.validation] - TreeBatch(trees).sums(matrix[split.validation])
        # Split conformal prediction: the truth of this share of the validation part is below.
        offsets.append(round(float(np.quantile(left, level)), 6))
        first.append(trees)
        final.append(boosted(request._replace(rounds=len(trees)), LabelledRows(matrix, target)))
    whole = np.ones(len(rows), dtype=np.bool_)
    shape = _Shape(rows, baseline, baseline_text, options, weight, tuple(offsets))
    tested, _, _ = _model(shape, first, ~split.test, places.tested)
    training = {
        "library": f"xgboost {library().__version__}",
        "parameters": parameters(BoostingRequest(0.5, 0, options.seed, options.threads), len(rows)),
        "rounds": {f"{level:g}": len(trees) for level, trees in zip(LEVELS, first, strict=True)},
        "validation_from_ms": split.validation_ms,
        "test_from_ms": split.test_ms,
        "rows": {name: int(getattr(split, name).sum()) for name in ("training", "validation", "test")}
        | {"all": len(rows)},
        "without": without,
        "restaurants": {"places": len(places.shipped), "half_at_orders": places.half_at},
        "known_by_ms": options.known_by_ms,
        "placed_until_ms": int(rows.placed_ms.max()),
    }
    model, spec, files = _model(shape, final, whole, places.shipped)
    left_out: list[LeftOut] = []
    if options.leave_out:
        request = BoostingRequest(LEVELS[MEDIAN], len(first[MEDIAN]), options.seed, options.threads)
        left_out = worth_of_inputs(InputLearning(request, options.inputs, weight), rows, split, on_step)
    manifest = ModelManifest(
        FORMAT, model.digest, spec, {}, dict(origin), training, {}, numeric_fingerprint(), feature_references(rows)
    )
    files[MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    later = rows.with_unknown_cities(~split.test).of(split.validation | split.test)
    return TrainedEta(files, model, tested, first, split, later, options.known_by_ms, left_out)


def write_model(folder: Path, files: Mapping[str, bytes]) -> None:
    """The manifest is written last: a directory without it is no model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == MANIFEST):
        (folder / name).write_bytes(files[name])


def with_evaluation(
    files: Mapping[str, bytes], evaluation: Mapping[str, Any], cards: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The files with the errors in the manifest, and with the card."""
    manifest = msgspec.json.decode(files[MANIFEST], type=ModelManifest)
    found = {**files, **cards}
    sums = {name: sha256(text).hexdigest() for name, text in sorted(found.items()) if name != MANIFEST}
    changed = msgspec.structs.replace(manifest, evaluation=dict(evaluation), files=sums)
    return {**found, MANIFEST: msgspec.json.format(msgspec.json.encode(changed), indent=2)}


class _Shape(NamedTuple):
    """What two models of one training have in common."""

    rows: ModelRows
    baseline: Baseline
    baseline_text: bytes
    options: TrainingOptions
    promise_weight: float
    offsets: tuple[float, ...]


def _places(rows: ModelRows, target: Floats, split: TimeSplit, options: TrainingOptions, axis: str) -> LearnedPlaces:
    if RESTAURANT_EFFECT in options.without:
        return LearnedPlaces(rows, {}, {}, None)
    return learn_places(rows, target, rows.end_known_ms(axis), split)


def _model(
    shape: _Shape, trees: Sequence[list[Tree]], seen: Mask, places: dict[str, float]
) -> tuple[LearnedEta, ModelSpec, dict[str, bytes]]:
    names = shape.options.inputs
    used = {names[node.input] for of_level in trees for tree in of_level for node in tree if node.input != LEAF}
    asked = places if RESTAURANT_EFFECT in used else {}
    used -= set(UNBOUNDED_INPUTS)
    if shape.promise_weight:
        used |= {"promised_left_s"} & set(names)
    spec = ModelSpec(
        shape.options.name,
        LEARNED_FORMULA,
        list(names),
        list(LEVELS),
        list(shape.rows.cities),
        {name: _bounds(shape.rows.inputs[seen, INPUTS.index(name)]) for name in sorted(used)},
        shape.promise_weight,
        list(shape.offsets),
        shape.baseline.digest,
        asked,
    )
    files = {BASELINE: shape.baseline_text}
    files |= {name: trees_text(of_level) for name, of_level in zip(TREES, trees, strict=True)}
    manifest = ModelManifest(FORMAT, digest_of(spec, files), spec, {}, {}, {}, {}, {})
    return load({**files, MANIFEST: msgspec.json.encode(manifest)}), spec, files


def _bounds(values: Floats) -> ModelBounds:
    known = values[~np.isnan(values)]
    if not len(known):
        return ModelBounds(0.0, 0.0, unknown=True)
    low, high = float(known.min()), float(known.max())
    margin = BOUNDS_MARGIN * (high - low)
    return ModelBounds(low - margin, high + margin, unknown=len(known) < len(values))


def _promise_weight(rows: ModelRows, split: TimeSplit, options: TrainingOptions) -> float:
    """The weight with the lowest error in the training part, where each candidate is free of its own bias."""
    promised = split.training & ~np.isnan(rows.promised_left_s)
    if promised.sum() < MIN_PROMISED_ROWS or set(options.without) & set(PROMISE_INPUTS):
        return 0.0
    known = rows.of(promised)
    truth = np.log(known.label_s.clip(min=0.0) + SHIFT_S)

    def error(weight: float) -> float:
        left = truth - base_of(known, weight)
        return float(np.abs(left - np.median(left)).mean())

    return min(PROMISE_WEIGHTS, key=error)


def _rows(matrix: Floats, target: Floats, mask: Mask) -> LabelledRows:
    return LabelledRows(matrix[mask], target[mask])
