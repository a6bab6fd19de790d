"""Models of one leaf a quantile: they multiply what the baseline says, plus a minute, by a constant."""

from __future__ import annotations

from hashlib import sha256
from math import log

import msgspec

from domain.features.eta.learned.inputs import INPUTS
from domain.features.eta.learned.model import LEARNED_FORMULA, LEVELS
from domain.features.eta.learned.trees import LEAF, Node
from domain.features.eta.packaged import PATH, packaged_baseline
from infrastructure.eta_models.model_files import (
    BASELINE,
    FORMAT,
    MANIFEST,
    TREES,
    ModelBounds,
    ModelManifest,
    ModelSpec,
    digest_of,
    trees_text,
)


def with_plots(files: dict[str, bytes], plots: dict[str, bytes]) -> dict[str, bytes]:
    """The files with plots of a card, whose hashes the manifest names."""
    manifest = msgspec.json.decode(files[MANIFEST], type=ModelManifest)
    sums = {name: sha256(content).hexdigest() for name, content in plots.items()}
    return {**files, **plots, MANIFEST: msgspec.json.encode(msgspec.structs.replace(manifest, files=sums))}


def model_files(name: str, factor: float, **bounds: ModelBounds) -> dict[str, bytes]:
    """The files of a model; its P90 is twice its P50, each plus a minute."""
    ratios = [log(factor) if level <= 0.5 else log(2.0 * factor) for level in LEVELS]
    files = {BASELINE: PATH.read_bytes()}
    files |= {file: trees_text([(Node(LEAF, ratio),)]) for file, ratio in zip(TREES, ratios, strict=True)}
    spec = ModelSpec(
        name, LEARNED_FORMULA, list(INPUTS), list(LEVELS), [], bounds, 0.0, [0.0] * 9, packaged_baseline().digest
    )
    manifest = ModelManifest(FORMAT, digest_of(spec, files), spec, {}, {}, {}, {}, {})
    return {**files, MANIFEST: msgspec.json.encode(manifest)}


def digest_in(files: dict[str, bytes]) -> str:
    return msgspec.json.decode(files[MANIFEST], type=ModelManifest).digest
