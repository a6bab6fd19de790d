"""``schemas check`` and ``schemas register``, without a registry, with our own, and with one by URL."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar

from domain.events.contracts import contracts
from infrastructure.http.schema_registry.router import registry_router
from infrastructure.postgres.engine import reader_engine
from infrastructure.schema_registry.store import RegistryStore
from tests.integration.cli.test_command_line import ridelog
from tests.support.servers.http_server import served
from tests.support.worlds.command_line import run_here

GPS = "com.delivery.events.GpsPing"
ANOTHER = json.dumps(
    {"type": "record", "name": "GpsPing", "namespace": "com.delivery.events", "fields": [{"name": "x", "type": "int"}]}
)


@pytest.fixture
def store(postgres_url: str) -> Iterator[RegistryStore]:
    engine = reader_engine(postgres_url)
    yield RegistryStore(engine)
    engine.dispose()


def run_schemas(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``schemas …`` in this process."""
    return run_here(
        ("schemas", *arguments), {f"RIDELOG_{name.upper()}": value for name, value in settings.items()}, cwd
    )


def test_without_a_registry_the_files_are_compared_and_nothing_is_created(tmp_path: Path) -> None:
    done = ridelog("schemas", "check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "GpsPing 3" in done.stdout
    assert "no registry is running or configured" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert "nothing has run" in ridelog("schemas", "register", cwd=tmp_path).stderr


def test_registering_is_idempotent_and_then_everything_is_there(
    tmp_path: Path, postgres_url: str, store: RegistryStore
) -> None:
    check = json.loads(run_schemas("check", "--json", cwd=tmp_path, postgres_url=postgres_url).stdout)
    assert check["compatible"]
    assert sum(one["says"] == "not registered yet" for one in check["findings"]) == len(contracts())
    first = ridelog("schemas", "register", "--json", cwd=tmp_path, postgres_url=postgres_url)
    again = run_schemas("register", "--json", cwd=tmp_path, postgres_url=postgres_url)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout) == json.loads(again.stdout)
    assert {row["subject"]: row["id"] for row in json.loads(first.stdout)} == {
        subject: store.versions(subject)[-1].schema_id for subject in store.subjects()
    }
    check = json.loads(run_schemas("check", "--json", cwd=tmp_path, postgres_url=postgres_url).stdout)
    assert check["registry"]
    assert not any("not registered" in one["says"] for one in check["findings"])


def test_an_incompatible_registry_by_url_exits_with_1_and_says_what_to_do(tmp_path: Path, store: RegistryStore) -> None:
    store.register(GPS, ANOTHER)
    with served(Litestar([registry_router(store)], openapi_config=None, logging_config=None)) as base:
        url = f"{base}/registry"
        done = run_schemas("check", cwd=tmp_path, schema_registry_url=url)
        assert done.returncode == 1
        assert "would be refused" in done.stdout
        assert "does not read what was written under it" in done.stdout
        assert "docs/schemas.md" in done.stderr
        refused = run_schemas("register", cwd=tmp_path, schema_registry_url=url)
        assert refused.returncode == 1
        assert refused.stderr.startswith("error: the schema registry refuses")
    unavailable = run_schemas("check", cwd=tmp_path, schema_registry_url="http://u:hunter2@127.0.0.1:1")
    assert unavailable.returncode == 1
    assert "does not answer" in unavailable.stderr
    assert "hunter2" not in unavailable.stderr
