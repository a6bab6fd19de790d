"""An error that a command can meet and no code can repair is one line with what to do next, and exit code 1."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text

from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import PostgresGenerations
from infrastructure.schema_registry.store import RegistryStore
from projections.speed import SPEED
from tests.support.worlds.command_line import run_here

REBUILD = ("rebuild-projection", "speed")
PARKED = ("parked", "list")
REPLAY = ("replay", "speed", "--position", "0")
DIFF = (*REPLAY, "--diff", "generation:1")
HISTORY = ("feature-history", "speed", "--from", "0", "--to", "1000", "--out", "out.parquet")
TRAINING_SET = ("training-set", "--every", "30s", "--out", "set")
FOLDING = [REBUILD, ("rollback-projection", "speed"), PARKED, ("parked", "retry", "speed", "--all"), ("generations",)]
"""Commands that need Redis too."""
READING = [REPLAY, HISTORY, TRAINING_SET, ("verify-parity",)]
ANOTHER = json.dumps(
    {"type": "record", "name": "GpsPing", "namespace": "com.delivery.events", "fields": [{"name": "x", "type": "int"}]}
)


@pytest.fixture
def urls(postgres_url: str, redis_url: str) -> dict[str, str]:
    return {"RIDELOG_POSTGRES_URL": postgres_url, "RIDELOG_REDIS_URL": redis_url}


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = reader_engine(postgres_url)
    PostgresGenerations(engine).first(SPEED)
    yield engine
    engine.dispose()


@pytest.fixture
def evicting(redis_url: str) -> Iterator[None]:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield
        client.config_set("maxmemory-policy", "noeviction")


def error_line(arguments: Sequence[str], urls: dict[str, str], cwd: Path) -> str:
    """The last line that the command prints."""
    done = run_here(arguments, urls, cwd)
    assert done.returncode == 1
    assert done.stdout == ""
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ")
    assert "Traceback" not in done.stderr
    return error


@pytest.mark.parametrize("arguments", [*FOLDING, ("restored",), *READING, ("schemas", "register")], ids=" ".join)
def test_a_registry_that_is_unavailable(
    arguments: tuple[str, ...], urls: dict[str, str], engine: Engine, tmp_path: Path
) -> None:
    error = error_line(arguments, urls | {"RIDELOG_SCHEMA_REGISTRY_URL": "http://u:hunter2@127.0.0.1:1"}, tmp_path)
    assert "the schema registry does not answer" in error
    assert "RIDELOG_SCHEMA_REGISTRY_URL" in error
    assert "hunter2" not in error


def test_a_malformed_registry_url(urls: dict[str, str], tmp_path: Path) -> None:
    for arguments in (PARKED, ("schemas", "check")):
        error = error_line(arguments, urls | {"RIDELOG_SCHEMA_REGISTRY_URL": "http://u:hunter2@registry:x"}, tmp_path)
        assert "RIDELOG_SCHEMA_REGISTRY_URL" in error
        assert "hunter2" not in error


@pytest.mark.parametrize("arguments", [*FOLDING, ("restored",), *READING], ids=" ".join)
def test_a_registry_that_refuses_our_contracts(
    arguments: tuple[str, ...], urls: dict[str, str], engine: Engine, tmp_path: Path
) -> None:
    RegistryStore(engine).register("com.delivery.events.GpsPing", ANOTHER)
    assert "`python app.py schemas check` shows what differs" in error_line(arguments, urls, tmp_path)


@pytest.mark.usefixtures("evicting")
@pytest.mark.parametrize("arguments", [*FOLDING, ("restored",), DIFF], ids=" ".join)
def test_invariant_13_a_redis_that_may_evict(
    arguments: tuple[str, ...], urls: dict[str, str], engine: Engine, tmp_path: Path
) -> None:
    assert "set `maxmemory-policy noeviction`" in error_line(arguments, urls, tmp_path)


@pytest.mark.parametrize("arguments", [PARKED, REBUILD], ids=" ".join)
def test_a_redis_user_without_permissions(
    arguments: tuple[str, ...], urls: dict[str, str], engine: Engine, tmp_path: Path
) -> None:
    with redis.Redis.from_url(urls["RIDELOG_REDIS_URL"]) as client:
        client.acl_setuser("reader", enabled=True, passwords=["+pw"], keys=["*"], commands=["+get", "+hgetall"])
        narrow = urls["RIDELOG_REDIS_URL"].replace("://", "://reader:pw@")
        error = error_line(arguments, urls | {"RIDELOG_REDIS_URL": narrow}, tmp_path)
        client.acl_deluser("reader")
    assert "no permissions" in error
    assert "RIDELOG_REDIS_URL" in error


@pytest.mark.parametrize("arguments", [PARKED, REBUILD, *READING, ("schemas", "register")], ids=" ".join)
@pytest.mark.parametrize("url", ["hunter2", "postgresql://u:hunter2@db:x/ridelog"])
def test_a_malformed_database_url(arguments: tuple[str, ...], url: str, urls: dict[str, str], tmp_path: Path) -> None:
    error = error_line(arguments, urls | {"RIDELOG_POSTGRES_URL": url}, tmp_path)
    assert "RIDELOG_POSTGRES_URL" in error
    assert "hunter2" not in error


def test_a_malformed_redis_url(urls: dict[str, str], tmp_path: Path) -> None:
    error = error_line(PARKED, urls | {"RIDELOG_REDIS_URL": "http://:hunter2@localhost"}, tmp_path)
    assert "RIDELOG_REDIS_URL" in error
    assert "hunter2" not in error


def test_invariant_1_a_log_that_lacks_what_its_head_has_given_out(
    urls: dict[str, str], engine: Engine, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        seqs = json.dumps({SPEED.stream: [1] + [0] * 63})
        connection.execute(text("UPDATE log_numbers SET position = 1, seqs = :seqs"), {"seqs": seqs})
    error = error_line(REBUILD, urls, tmp_path)
    assert "fewer events in the log than its head says" in error
    assert "docs/backup.md" in error


@pytest.mark.parametrize("arguments", [REBUILD, ("restored",), *READING[:2]], ids=" ".join)
def test_a_log_without_a_head(arguments: tuple[str, ...], urls: dict[str, str], engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM log_head"))
    assert "table log_head or log_numbers is empty" in error_line(arguments, urls, tmp_path)


def test_a_schema_in_the_registry_that_is_not_avro(urls: dict[str, str], engine: Engine, tmp_path: Path) -> None:
    store = RegistryStore(engine)
    store.register("com.delivery.events.GpsPing", ANOTHER)
    with engine.begin() as connection:
        connection.execute(text("UPDATE schemas SET schema = 'syntax = \"proto3\";'"))
    assert "docs/schemas.md" in error_line(("schemas", "check"), urls, tmp_path)


def test_regression_a_command_restores_the_log_levels_that_it_changed(
    urls: dict[str, str], engine: Engine, evicting: None, tmp_path: Path
) -> None:
    """A rebuild logs only errors. A later test in the same process then found no warnings in its log."""
    log = logging.getLogger("ridelog")
    before = log.level, logging.root.level, logging.root.handlers[:]
    error_line(REBUILD, urls, tmp_path)
    assert (log.level, logging.root.level, logging.root.handlers) == before


def test_regression_a_diff_with_a_generation_starts_the_redis_that_no_setting_names(
    urls: dict[str, str], engine: Engine, tmp_path: Path
) -> None:
    """With an external Postgres alone it ended with "the setting redis_url is missing"."""
    postgres = {name: url for name, url in urls.items() if name == "RIDELOG_POSTGRES_URL"}
    error = error_line(DIFF, postgres | {"RIDELOG_DATA_DIR": str(tmp_path / "data")}, tmp_path)
    assert error == "error: generation 1 of speed stores nothing: see `generations`"
