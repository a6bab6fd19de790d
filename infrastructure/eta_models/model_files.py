"""The directory of a learned model: its manifest, its trees as text, and how both become a model that can be asked.

    DIR/manifest.json   what it was trained from, and how; of it, ``spec`` decides what the model answers
    DIR/baseline.json   the constants of the baseline that the trees add to
    DIR/trees-50.json   the trees of one quantile; trees-10 to trees-90
    DIR/card.html       the model card, with its plots; no answer depends on it

The digest covers ``spec`` and the files that answers depend on. A file from outside is bounded before it is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from domain.features.eta.baseline import Baseline
from domain.features.eta.learned.inputs import INPUTS
from domain.features.eta.learned.model import (
    LEARNED_FORMULA,
    LEVELS,
    InputBounds,
    LearnedEta,
    LearnedSpec,
    used_inputs,
)
from domain.features.eta.learned.trees import LEAF, InvalidTrees, Node, Tree, TreeSum
from domain.features.eta.learned.trees import check as check_trees
from infrastructure.errors import UserError
from infrastructure.eta_models.compiled_trees import MAX_DEPTH, compiled

FORMAT: Final = "ridelog-eta-model/1"
MANIFEST: Final = "manifest.json"
BASELINE: Final = "baseline.json"
CARD: Final = "card.html"
TREES: Final = tuple(f"trees-{round(100 * level)}.json" for level in LEVELS)
DECIDING_FILES: Final = (BASELINE, *TREES)
"""What answers depend on, beside ``spec``."""

MAX_FILE_BYTES: Final = 32 << 20
MAX_TREES: Final = 2_000
"""Of one quantile: bounds the time of an answer and of the compilation."""
MAX_NAME: Final = 64
MAX_CITIES: Final = 10_000
MAX_PLACES: Final = 50_000
MAX_PLACE_EFFECT: Final = 5.0
"""In ln: as far as trees can move the baseline."""


class ModelUnavailable(Exception):
    """A model that this code cannot load: its files are damaged, or of another format, formula or baseline."""


class ModelBounds(msgspec.Struct, frozen=True):
    """What the training set had of one input; ``unknown``: it was unknown at times."""

    low: float
    high: float
    unknown: bool


class ModelSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model is beside its trees. ``inputs``: by number in the trees. ``levels``: of the quantiles.

    ``places``: effects of restaurants by place; a model without them has the bytes, and so the digest, that it had
    before there were any.
    """

    name: str
    formula: str
    inputs: list[str]
    levels: list[float]
    cities: list[str]
    bounds: dict[str, ModelBounds]
    promise_weight: float
    offsets: list[float]
    baseline_digest: str
    places: dict[str, float] = {}


class ModelManifest(msgspec.Struct, frozen=True):
    """``training_set``, ``training`` and ``evaluation`` say where the model comes from; no answer depends on them.

    Nor on ``reference``, the distributions that drift is measured against (docs/drift.md); empty: not known.
    """

    format: str
    digest: str
    spec: ModelSpec
    files: dict[str, str]
    training_set: dict[str, Any]
    training: dict[str, Any]
    evaluation: dict[str, Any]
    fingerprint: dict[str, str]
    reference: dict[str, Any] = {}


class TreeColumns(msgspec.Struct, frozen=True):
    """One tree by columns, as ``Node`` has them; ``unknown_below`` as 0 and 1."""

    input: list[int]
    threshold: list[float]
    below: list[int]
    above: list[int]
    unknown_below: list[int]


def digest_of(spec: ModelSpec, files: Mapping[str, bytes]) -> str:
    """64 hex digits over all that an answer depends on."""
    whole = sha256(f"{FORMAT}\n".encode())
    whole.update(msgspec.json.encode(spec, order="deterministic"))
    for name in DECIDING_FILES:
        whole.update(f"\n{name} {sha256(files[name]).hexdigest()}".encode())
    return whole.hexdigest()


def trees_text(trees: list[Tree]) -> bytes:
    """The file of one quantile: a line a tree."""
    lines = [
        msgspec.json.encode(
            TreeColumns(
                [node.input for node in tree],
                [node.threshold for node in tree],
                [node.below for node in tree],
                [node.above for node in tree],
                [int(node.unknown_below) for node in tree],
            )
        )
        for tree in trees
    ]
    return b"[\n" + b",\n".join(lines) + b"\n]\n"


def trees_of(text: bytes, inputs: int) -> list[Tree]:
    """The trees of a file. Raises InvalidTrees."""
    try:
        found = msgspec.json.decode(text, type=list[TreeColumns])
        trees = [_tree(columns) for columns in found]
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidTrees(f"a file of trees cannot be read: {error}") from error
    if len(trees) > MAX_TREES:
        raise InvalidTrees(f"{len(trees):,} trees; at most {MAX_TREES:,} are evaluated")
    check_trees(trees, inputs, MAX_DEPTH)
    return trees


def read_model_files(folder: Path) -> dict[str, bytes]:
    """The manifest and the files that answers depend on, by name. Raises UserError."""
    return {name: _read(folder / name) for name in (MANIFEST, *DECIDING_FILES)}


def read_model_manifest(text: bytes) -> ModelManifest:
    """Raises ModelUnavailable."""
    try:
        found = msgspec.json.decode(text, type=ModelManifest)
    except msgspec.DecodeError as error:
        raise ModelUnavailable(f"its manifest cannot be read: {error}") from error
    if found.format != FORMAT:
        raise ModelUnavailable(f"it has the format {found.format!r}; this code reads {FORMAT}")
    return found


def load(files: Mapping[str, bytes]) -> LearnedEta:
    """The model of these files, compiled. Raises ModelUnavailable for files that do not give the manifest's digest."""
    manifest = read_model_manifest(files[MANIFEST])
    spec = manifest.spec
    if digest_of(spec, files) != manifest.digest:
        raise ModelUnavailable("its files do not have the digest that its manifest names: it was changed or damaged")
    try:
        _check(spec)
        numbers = used_inputs(spec.inputs)
        baseline = Baseline.from_json(files[BASELINE].decode())
        trees = [_compiled(files[name], numbers) for name in TREES]
    except (ValueError, KeyError) as error:
        raise ModelUnavailable(str(error)) from error
    if baseline.digest != spec.baseline_digest:
        raise ModelUnavailable("it was trained over another formula of the baseline than this code has")
    bounds = {name: InputBounds(one.low, one.high, one.unknown) for name, one in spec.bounds.items()}
    weights = (spec.promise_weight, tuple(spec.offsets), spec.places)
    return LearnedEta(LearnedSpec(spec.name, manifest.digest, tuple(spec.cities), bounds, *weights), baseline, trees)


def load_folder(folder: Path) -> LearnedEta:
    """Raises UserError."""
    try:
        return load(read_model_files(folder))
    except ModelUnavailable as error:
        raise UserError(f"{folder} has no model that this code can load: {error}") from error


def _check(spec: ModelSpec) -> None:
    if not 0 < len(spec.name) <= MAX_NAME or not spec.name.isprintable():
        raise ValueError(f"its name has not 1 to {MAX_NAME} printable characters")
    if spec.formula != LEARNED_FORMULA:
        raise ValueError(f"it has the formula {spec.formula}; this code computes {LEARNED_FORMULA}")
    if tuple(spec.levels) != LEVELS or len(spec.offsets) != len(LEVELS):
        raise ValueError("it has other quantiles than 0.1 to 0.9")
    if not 0.0 <= spec.promise_weight <= 1.0 or not all(-5.0 <= one <= 5.0 for one in spec.offsets):
        raise ValueError("its promise weight or an offset is out of range")
    if len(spec.cities) > MAX_CITIES or len(set(spec.inputs)) != len(spec.inputs):
        raise ValueError("it has too many cities, or an input twice")
    if len(spec.places) > MAX_PLACES or not all(abs(one) <= MAX_PLACE_EFFECT for one in spec.places.values()):
        raise ValueError("it has too many restaurants, or the effect of one is out of range")
    if set(spec.bounds) - set(spec.inputs):
        raise ValueError("it bounds an input that it does not have")


def _compiled(text: bytes, numbers: tuple[int, ...]) -> TreeSum:
    """The trees of a file, over all inputs of this code. They are compiled when they are first asked."""
    trees = [_renumbered(tree, numbers) for tree in trees_of(text, len(numbers))]
    return LazyTrees(trees)


class LazyTrees:
    """Compiled at the first call: serving asks two of the nine quantiles."""

    def __init__(self, trees: list[Tree]) -> None:
        self.trees = trees
        self._sum: TreeSum | None = None

    def __call__(self, values: Any) -> float:
        if self._sum is None:
            self._sum = compiled(self.trees, len(INPUTS))
        return self._sum(values)


def _renumbered(tree: Tree, numbers: tuple[int, ...]) -> Tree:
    return tuple(node if node.input == LEAF else node._replace(input=numbers[node.input]) for node in tree)


def _tree(columns: TreeColumns) -> Tree:
    rows = zip(columns.input, columns.threshold, columns.below, columns.above, columns.unknown_below, strict=True)
    return tuple(
        Node(number, threshold, below, above, bool(unknown)) for number, threshold, below, above, unknown in rows
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}; `train-eta` writes the directory of a model") from error
    if len(found) > MAX_FILE_BYTES:
        raise UserError(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB: it is no file of a model")
    return found
