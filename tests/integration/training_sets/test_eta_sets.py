"""A training set of rules: each row is the replay as of its instant, and the bytes depend on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.backends import open_backends
from infrastructure.embedded.postgres import Postgres
from infrastructure.settings.settings import Settings
from infrastructure.training_sets.eta_set import EtaRule
from projections.replay.as_of import Axis
from tests.support.servers.servers import fresh_database
from tests.support.worlds.eta_log import Reference, check_reading, horizons, items_of, make, record, rows_of
from tests.unit.simulator.scenarios import busy

ITEMS = items_of(busy(3, duration_s=2_400.0, until_s=1_500.0))
HALF = len(ITEMS) // 2
EVENTS = EtaRule("at_events", events=["placed", "assigned", "picked_up", "arrived"])
EVERY = EtaRule("every", every_ms=240_000)
AXES: tuple[Axis, ...] = ("known", "position", "event")


@pytest.fixture(scope="module")
def log(migrated_postgres: Postgres) -> Iterator[Settings]:
    with fresh_database(migrated_postgres) as url:
        settings = Settings(postgres_url=url)
        record(settings, ITEMS)
        yield settings


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("rule", [EVENTS, EVERY], ids=["at_events", "every"])
def test_each_row_is_the_replay_as_of_its_instant(log: Settings, tmp_path: Path, axis: Axis, rule: EtaRule) -> None:
    made = make(log, tmp_path / "set", rule, axis).manifest
    rows = rows_of(tmp_path / "set")
    assert len(rows) == made.rows > 20
    assert {row["outcome"] for row in rows} >= {"completed", "cancelled"}
    with open_backends(log) as backends:
        reference = Reference(backends)
        for row, horizon in list(horizons(log, rows, axis))[:: max(1, len(rows) // 25)]:
            check_reading(row, reference.reading(row["order_id"], horizon))
