"""In which processes ``serve`` runs its programs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from infrastructure.cli.process import register
from infrastructure.settings.settings import Settings
from infrastructure.supervision.readiness import program_of
from infrastructure.supervision.service_commands import commands_for
from projections.catalogue import PROJECTIONS

SETTINGS = Settings(data_dir=Path("data"))


def followed(argv: list[str]) -> list[str]:
    return argv[argv.index("--of") + 1].split(",")


def test_every_projection_is_followed_by_exactly_one_process() -> None:
    commands = commands_for(SETTINGS, ("api", "tailer", "projections"))
    projections = [list(one.argv) for one in commands if program_of(one.name) == "projections"]
    assert Counter(name for argv in projections for name in followed(argv)) == Counter(list(PROJECTIONS))


def test_a_process_bears_the_name_of_its_program() -> None:
    commands = commands_for(SETTINGS, ("api", "tailer", "projections", "city", "payments"))
    assert {program_of(one.name) for one in commands} == {"api", "tailer", "projections", "city", "payments"}
    assert len({one.name for one in commands}) == len(commands)


def test_without_the_api_a_monitor_serves_metrics_and_health() -> None:
    (monitor,) = (one for one in commands_for(SETTINGS, ("projections",)) if one.name == "monitor")
    assert followed(list(monitor.argv)) == ["projections"]


@pytest.mark.parametrize(
    "arguments",
    [["projections", "--of", "speed,no-such"], ["projections", "--of", ""], ["tailer", "--of", "speed"], ["no-such"]],
)
def test_an_unknown_program_or_projection_is_rejected(arguments: list[str]) -> None:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
