"""A session cluster's JobManager, and a log with riders and orders, for the tests of parts that are made on Flink."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from infrastructure.embedded.postgres import Postgres
from infrastructure.flink.environment import FOLDER
from infrastructure.settings.settings import Settings
from tests.support.servers.flink_cluster import JobManager, missing_environment
from tests.support.servers.servers import running
from tests.support.servers.serving import ROOT
from tests.support.worlds.parts_world import busy_log


@pytest.fixture(scope="module")
def jobmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobManager]:
    if (lacking := missing_environment()) is not None:
        pytest.skip(lacking)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not (ROOT / FOLDER / "lib" / python).is_dir():
        pytest.skip(
            f"the environment of Flink is not for {python}, so its rows are refused: make flink with this Python"
        )
    with running(JobManager(tmp_path_factory.mktemp("flink"))) as one:
        yield one


@pytest.fixture(scope="module")
def log(migrated_postgres: Postgres) -> Iterator[Settings]:
    with busy_log(migrated_postgres) as settings:
        yield settings
