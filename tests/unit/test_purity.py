"""Folds and features are pure: what they could be impure with is not even imported."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import domain.features
from projections.catalogue import PROJECTIONS

HARMLESS = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "itertools",
    "math",
    "statistics",
    "struct",
    "typing",
}
CLOCKS = {"now", "today", "utcnow"}
"""What makes of datetime, which turns numbers into instants, a clock."""
DECLARATIONS = {"read_models.rows"}
FEATURES = sorted(Path(inspect.getfile(domain.features)).parent.glob("*.py"))
FOLDS = [module for projection in PROJECTIONS.values() for module in projection.modules]


def imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_invariant_5_features_import_no_clock_no_io_and_no_randomness() -> None:
    for file in FEATURES:
        strange = {name for name in imported(file.read_text()) if not name.startswith("domain.features")} - HARMLESS
        strange = {name for name in strange if name.split(".")[0] not in HARMLESS}
        assert strange == set(), file


@pytest.mark.parametrize("module", FOLDS, ids=lambda module: module.__name__)
def test_invariant_5_folds_reach_nothing_but_features(module: ModuleType) -> None:
    source = inspect.getsource(module)
    for name in imported(source):
        if name == "datetime":
            assert not CLOCKS & {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
            continue
        harmless = name.split(".")[0] in HARMLESS or name in DECLARATIONS or name.startswith("domain.features")
        assert harmless, name
