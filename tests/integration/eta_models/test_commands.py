"""The commands of models on a real database: judged, promoted, listed, compared, rolled back, refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from infrastructure.eta_models.registry import ModelRegistry
from infrastructure.eta_models.served_models import LoadedModels, ServedModels
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.train_eta import write_model
from tests.support.eta.small_models import digest_in, model_files
from tests.support.worlds.command_line import run_here
from tests.support.worlds.eta_on_servers import EtaOnServers, eta_client, eta_on_servers

Run = Callable[..., CompletedProcess[str]]
SLOW, QUICK = model_files("slow", 2.0), model_files("quick", 0.5)


@pytest.fixture
def world(settings: Settings) -> Iterator[EtaOnServers]:
    with eta_on_servers(settings) as one:
        yield one


@pytest.fixture
def run(settings: Settings, world: EtaOnServers, tmp_path: Path) -> Run:
    write_model(tmp_path / "slow", SLOW)
    write_model(tmp_path / "quick", QUICK)
    env = {"RIDELOG_POSTGRES_URL": settings.postgres_url or "", "RIDELOG_DATA_DIR": str(tmp_path)}

    def command(*arguments: str) -> CompletedProcess[str]:
        return run_here(arguments, env, tmp_path)

    return command


def answered(found: CompletedProcess[str]) -> Any:
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_a_model_is_promoted_under_a_running_api_and_rolled_back(run: Run, world: EtaOnServers) -> None:
    registry = ModelRegistry(world.backends.engine)
    models = ServedModels(registry, LoadedModels(registry))
    world.place("one")
    world.fold()
    with eta_client(world, models=models) as client:
        promoted = answered(run("models", "promote", "slow", "--who", "ann", "--json"))
        assert promoted == {"serving": digest_in(SLOW), "shadow": None}
        models.poll()
        assert client.eta("one")["model"]["digest"] == digest_in(SLOW)
        shadowed = answered(run("models", "promote", "quick", "--shadow", "--who", "ann", "--json"))
        assert shadowed == {"serving": digest_in(SLOW), "shadow": digest_in(QUICK)}
        models.poll()
        assert client.eta("one")["model"]["digest"] == digest_in(SLOW)
        assert answered(run("models", "roll-back", "--who", "ben", "--json"))["serving"] == "baseline"
        models.poll()
        assert client.eta("one")["model"]["name"] == "baseline"
    listed = answered(run("models", "list", "--json"))
    assert [(one["name"], one["served_etas"]) for one in listed["models"]] == [("slow", 0), ("quick", 0)]
    assert [(one["action"], one["by"]) for one in listed["history"]] == [
        ("promote", "ann"),
        ("shadow", "ann"),
        ("roll_back", "ben"),
    ]
    assert answered(run("models", "compare", "--json")) == {"shadow": digest_in(QUICK), "answers": 0, "legs": []}
    assert answered(run("models", "promote", "baseline", "--shadow", "--json", "--who", "ben"))["shadow"] is None


def test_a_directory_that_cannot_be_loaded_changes_nothing(run: Run, world: EtaOnServers, tmp_path: Path) -> None:
    (tmp_path / "slow" / "trees-50.json").write_bytes(b"[]")
    refused = run("models", "promote", "slow", "--who", "ann")
    assert refused.returncode == 1
    assert "changed or damaged" in refused.stderr
    assert ModelRegistry(world.backends.engine).entries() == []
    none = run("models", "promote", "0123", "--who", "ann")
    assert (none.returncode, "no model of the registry" in none.stderr) == (1, True)
    nothing = run("models", "roll-back", "--who", "ann")
    assert (nothing.returncode, "no promotion is left" in nothing.stderr) == (1, True)
    alone = run("models", "compare")
    assert (alone.returncode, "no model is in shadow" in alone.stderr) == (1, True)


def test_a_model_of_the_registry_serves_again_by_the_start_of_its_digest(run: Run, world: EtaOnServers) -> None:
    for name in ("slow", "quick"):
        answered(run("models", "promote", name, "--who", "ann", "--json"))
    again = answered(run("models", "promote", digest_in(SLOW)[:10], "--who", "ann", "--json"))
    assert again["serving"] == digest_in(SLOW)
