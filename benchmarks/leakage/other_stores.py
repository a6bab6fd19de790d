"""Runs the battery on every other store that this interpreter can import, and prints the answers as JSON.

``python -m benchmarks.leakage.other_stores`` needs the standard library and the packages of the stores only, so that an
environment without Ridelog's own packages runs it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, cast

from benchmarks.leakage.history import Axis
from benchmarks.leakage.stores import Answer, AskedAnswer, FeatureStore, Outcome, Setting, run
from benchmarks.leakage.traps import TRAPS


class OtherStore(NamedTuple):
    """A store whose adapter is imported on use. ``package``: what has to be installed for it."""

    package: str
    make: Callable[[], FeatureStore]


def _made(module: str, name: str, *arguments: str) -> Callable[[], FeatureStore]:
    return lambda: cast("FeatureStore", getattr(import_module(f"benchmarks.leakage.{module}"), name)(*arguments))


OTHER_STORES = (
    OtherStore("feast", _made("feast_store", "FeastStore", "dask")),
    OtherStore("feast", _made("feast_store", "FeastStore", "duckdb")),
    OtherStore("duckdb", _made("duckdb_joins", "DuckDbJoins")),
    OtherStore("pandas", _made("pandas_joins", "PandasJoins")),
)


class OtherAnswers(NamedTuple):
    """What was run: settings and versions by store, the answers, and the packages that are not installed."""

    settings: dict[str, tuple[Setting, ...]]
    versions: dict[str, dict[str, str]]
    answers: list[AskedAnswer]
    missing: list[str]


def run_other_stores() -> OtherAnswers:
    """Run all traps on each store that can be imported."""
    found = OtherAnswers({}, {}, [], [])
    for other in OTHER_STORES:
        try:
            import_module(other.package)
        except ModuleNotFoundError:
            if other.package not in found.missing:
                found.missing.append(other.package)
            continue
        store = other.make()
        found.settings[store.name] = store.settings
        found.versions[store.name] = store.versions()
        found.answers.extend(run(store, TRAPS))
    return found


def as_json(found: OtherAnswers) -> str:
    return json.dumps(found)


def from_json(text: str) -> OtherAnswers:
    """The answers of another interpreter. Raises ValueError or TypeError for anything else."""
    settings, versions, answers, missing = json.loads(text)
    return OtherAnswers(
        {name: tuple(Setting(each, tuple(map(Axis, axes))) for each, axes in of) for name, of in settings.items()},
        versions,
        [
            AskedAnswer(store, setting, trap, question, Answer(Outcome(outcome), found, why))
            for store, setting, trap, question, (outcome, found, why) in answers
        ],
        missing,
    )


def main(arguments: list[str]) -> int:
    if arguments:
        sys.stderr.write("usage: python -m benchmarks.leakage.other_stores\n")
        return 2
    # What a library prints must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    answers.write(as_json(run_other_stores()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
