"""Every analytics row on real tracks equals a computation in SQL over the events table, and a rebuild equals both."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from infrastructure.postgres.engine import reader_engine
from infrastructure.postgres.generations import active
from tests.e2e.test_real_tracks import as_ping
from tests.support.postgres.analytics_sql import Rows, expected_by_sql
from tests.support.reports.proofs import whole
from tests.support.waiting import eventually
from tests.support.worlds.ridelog import Ridelog
from tests.support.worlds.ridelog import ridelog as running
from tests.support.worlds.tracks import first_third, fixes, folder

FILES = ("mobilitynet_trips", "dublin_ebike_escooter")


def stored(connection: Connection, generation: int) -> tuple[Rows, Rows]:
    hours = connection.execute(
        text("SELECT *, extract(epoch FROM hour)::bigint / 3600 AS number FROM rider_hours WHERE generation = :g"),
        {"g": generation},
    ).mappings()
    minutes = connection.execute(
        text(
            "SELECT *, extract(epoch FROM minute)::bigint / 60 AS number"
            " FROM fleet_minutes_merged WHERE generation = :g"
        ),
        {"g": generation},
    ).mappings()
    return (
        {(r["rider_id"], r["number"]): columns(r, "rider_id", "hour") for r in hours},
        {(r["number"],): columns(r, "minute") for r in minutes},
    )


def columns(row: Any, *keys: str) -> dict[str, int]:
    left_out = {"generation", "shard", "number", *keys}
    return {name: int(value or 0) for name, value in row.items() if name not in left_out}


def head(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM events WHERE stream = 'Rider'")).scalar_one())


def folded(connection: Connection, generation: int) -> int:
    query = text(
        "SELECT sum(seq) FROM (SELECT DISTINCT ON (shard) seq FROM projection_fences"
        " WHERE projection = 'analytics' AND generation = :g ORDER BY shard, number DESC) fence"
    )
    return int(connection.execute(query, {"g": generation}).scalar_one() or 0)


def differences(expected: Rows, found: Rows) -> list[str]:
    return [
        f"{place}: expected {expected.get(place)}, found {found.get(place)}"
        for place in sorted(expected.keys() | found.keys())
        if expected.get(place) != found.get(place)
    ][:10]


@pytest.fixture
def imported(tmp_path: Path) -> Iterator[Ridelog]:
    """A ridelog with both files (in ``make test`` the first third of each device), and some rows again for other riders
    in another order.

    A separate ridelog, because other tests import the same files and check how many rows are new.
    """
    paths = [folder() / f"{name}.csv.gz" for name in FILES]
    if not whole():
        paths = [first_third(path, tmp_path) for path in paths]
    with running(tmp_path / "data") as ridelog:
        for path in paths:
            done = ridelog.cli("import-pings", "--rider-column", "device_id", str(path))
            assert done.returncode == 0, done.stderr
        send_mixed(ridelog, paths)
        yield ridelog


def send_mixed(ridelog: Ridelog, paths: Sequence[Path]) -> None:
    chance = random.Random(20261123)
    mixed = [
        as_ping(fix._replace(device=f"mixed:{fix.device}".replace("/", ":"))) | {"accuracy_meters": accuracy}
        for path in paths
        for fix in fixes(path)
        for accuracy in [chance.choice([None, 4, 12, 49, 50, 51, 300])]
        if chance.random() < 0.3
    ]
    # Shuffled within the span of the window, so that some pings are late and some too late.
    mixed.sort(key=lambda ping: (ping["event_timestamp_ms"] // 60_000, chance.random()))
    for first in range(0, len(mixed), 4_000):
        assert ridelog.post(mixed[first : first + 4_000])["rejected"] == []


@pytest.mark.proof
def test_every_row_equals_sql_over_the_events_and_a_rebuild_agrees(imported: Ridelog) -> None:
    engine = reader_engine(imported.info.postgres_url)
    try:
        live = active(engine, "analytics")
        assert live is not None
        with engine.connect() as connection:
            eventually(
                lambda: folded(connection, live) >= head(connection),
                within_s=90,
                every_s=0.5,
                what="everything is folded",
            )
        with engine.begin() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            expected_hours, expected_minutes = expected_by_sql(connection)
            hours, minutes = stored(connection, live)
        assert len(hours) > 200
        assert sum(row["too_late"] for row in hours.values()) > 0
        assert sum(row["rejected_fixes"] for row in hours.values()) > 0
        assert differences(expected_hours, hours) == []
        assert differences(expected_minutes, minutes) == []
    finally:
        engine.dispose()
    done = imported.cli("rebuild-projection", "analytics", "--verify-only", "--json")
    found = json.loads(done.stdout)
    assert (found["verdict"], found["comparison"]["differing"]) == ("equal", 0), done.stderr
    assert found["comparison"]["rows"] >= len(hours)
