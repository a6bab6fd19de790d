"""Folds and features are pure: they reach no clock, I/O or randomness."""

from __future__ import annotations

import ast
import inspect
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import domain.features
from domain.features.calibration.adjustment import Calibration
from domain.features.calibration.recurrence import calibrate
from domain.features.eta.baseline import Baseline
from domain.features.eta.estimate import estimate
from domain.features.traffic.city import CityTraffic
from projections.catalogue import PROJECTIONS
from projections.core.projection import Projection
from projections.digest.definitions import Tracer
from projections.digest.digest import fold_functions

HARMLESS = {
    "__future__",
    "binascii",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "h3",
    "hashlib",
    "itertools",
    "json",
    "math",
    "operator",
    "statistics",
    "struct",
    "typing",
    "zoneinfo",
}
PURE_MODULES = {"domain.identifiers", "uuid"}
"""Imported by features for ids that are computed from names; of ``uuid`` only the functions in HARMLESS_IDS."""
HARMLESS_IDS = {"uuid.UUID", "uuid.uuid5"}
"""The others read a clock or make random ids."""
CLOCKS = {"now", "today", "utcnow"}
"""The attributes of datetime that read a clock; the others only convert numbers into instants."""
FORBIDDEN = {f"builtins.{name}" for name in ("open", "input", "eval", "exec", "id", "hash", "globals", "print")}
READS_SHIPPED_DATA = "packaged.py"
"""Reads the constants that ship with the code, once a process."""
READS_IT_BY = {"pathlib.Path", "importlib.resources.files"}
FEATURES = sorted(
    file for file in Path(inspect.getfile(domain.features)).parent.rglob("*.py") if file.name != READS_SHIPPED_DATA
)
every_projection = pytest.mark.parametrize("projection", PROJECTIONS.values(), ids=lambda p: p.name)


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
        strange = {name for name in strange if name.split(".")[0] not in HARMLESS} - PURE_MODULES
        assert strange == set(), file


@every_projection
def test_invariant_5_what_is_stored_is_computed_without_clock_io_and_randomness(projection: Projection[Any]) -> None:
    assert impure(fold_functions(projection)) == set()


@every_projection
def test_invariant_5_what_is_served_is_computed_without_clock_io_and_randomness(projection: Projection[Any]) -> None:
    assert projection.view is None or impure((projection.view.features, projection.view.row)) == set()


def test_invariant_5_an_eta_is_computed_without_clock_io_and_randomness() -> None:
    functions = (estimate, Baseline.predict, Baseline.is_outside_training, CityTraffic.pace, CityTraffic.index)
    assert impure((*functions, Calibration.adjust, calibrate)) == set()


def test_a_clock_io_and_randomness_are_found() -> None:
    found = {"builtins.open", "datetime.datetime.now", "random.random", "time.time", "uuid.uuid4"}
    assert impure([reads_everything]) == found


def reads_everything(_state: Any) -> tuple[Any, ...]:
    return time.time(), datetime.now(UTC), random.random(), open, uuid4()


def impure(functions: Iterable[Callable[..., Any]]) -> set[str]:
    """Foreign names that these functions reach and that are not a function of their arguments."""
    tracer = Tracer()
    for function in functions:
        list(tracer.trace(function))
    shipped = any(definition.module.endswith(".packaged") for definition in tracer.definitions)
    return {
        name
        for name in tracer.foreign - (READS_IT_BY if shipped else set())
        if name in FORBIDDEN
        or name.rpartition(".")[2] in CLOCKS
        or (name not in HARMLESS_IDS and name.partition(".")[0] not in HARMLESS | {"builtins", "datetime", "msgspec"})
    }
