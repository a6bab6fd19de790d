"""``GET /traffic`` of a running ridelog, and the city next to servers and processes that are killed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from domain.features.traffic.steps import cell_at
from infrastructure.backends import Backends
from infrastructure.postgres.city_snapshots import PostgresCitySnapshots
from infrastructure.settings.settings import Settings
from tests.e2e.test_speed import now_ms
from tests.support.waiting import eventually
from tests.support.worlds.city_on_servers import CityOnServers
from tests.support.worlds.ridelog import Ridelog

DEGREE_M = math.pi * 6_371_008.8 / 180


def ride(rider: str, end_ms: int, latitude: float = 48.1, steps: int = 12) -> list[dict[str, Any]]:
    """A rider going north at 10 m/s, a fix every 20 s, the last at ``end_ms``."""
    return [
        {
            "rider_id": rider,
            "latitude": latitude + n * 200 / DEGREE_M,
            "longitude": 11.5,
            "event_timestamp_ms": end_ms - (steps - 1 - n) * 20_000,
            "accuracy_meters": 4,
        }
        for n in range(steps)
    ]


def traffic(ridelog: Ridelog, **query: str) -> dict[str, Any]:
    answer = ridelog.http.get("/traffic", params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body, dict)
    return body


def test_the_traffic_of_a_cell(ridelog: Ridelog, rider: str) -> None:
    for number in range(5):
        ridelog.post(ride(f"{rider}-{number}", now_ms() - 1_000))
    cell = cell_at(48.1 + 6 * 200 / DEGREE_M, 11.5)

    def crossed() -> bool:
        return any(row["cell"] == f"{cell:x}" and row["riders"] >= 5 for row in traffic(ridelog)["cells"])

    eventually(crossed, within_s=60, what="the city has the rides")
    found = traffic(ridelog, cells=f"{cell:x}")
    assert set(found) == {"snapshot", "as_of_ms", "fences", "cells"}
    assert {name: len(seqs) for name, seqs in found["fences"].items()} == {"traffic": 64, "orders": 64}
    assert abs(now_ms() - found["as_of_ms"]) < 60_000
    assert [row["heading"] for row in found["cells"]] == list(range(8))
    north = found["cells"][0]
    assert set(north) == {"cell", "heading", "pace_s_per_km", "index", "riders"}
    assert north["pace_s_per_km"] == pytest.approx(100.0, rel=0.1)
    assert (north["riders"], found["cells"][4]["riders"]) >= (5, 0)


def test_snapshots_are_numbered_and_shown_in_status(ridelog: Ridelog, rider: str) -> None:
    first = traffic(ridelog)

    def two_more() -> bool:
        # Without a new event the next snapshot would be made after ten seconds.
        ridelog.post(ride(rider, now_ms() - 1_000, steps=1))
        return bool(traffic(ridelog)["snapshot"] > first["snapshot"] + 1)

    eventually(two_more, within_s=30, what="snapshots are made")
    assert "city" in ridelog.ask("status").stdout
    assert 'ridelog_stage_connected{stage="city"} 1.0' in ridelog.http.get("/metrics").text


CELL = f"{cell_at(48.1, 11.5):x}"


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ("", "invalid_cell"),
        ("881f8d4", "invalid_cell"),
        (f"{CELL},", "invalid_cell"),
        (f"{CELL} ", "invalid_cell"),
        (f"0x{CELL[:14]}", "invalid_cell"),
        (f"{CELL[:4]}_{CELL[4:]}", "invalid_cell"),
        (f"{int(CELL, 16) + 1:x}", "invalid_cell"),
        ("871f8d7a5ffffff", "invalid_cell"),
        (CELL + "0" * 5_000, "invalid_cell"),
        (",".join([CELL] * 201), "out_of_range"),
    ],
)
def test_invariant_16_cells_are_checked(ridelog: Ridelog, cells: str, code: str) -> None:
    answer = ridelog.http.get("/traffic", params={"cells": cells})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_cell_given_twice_is_answered_once(ridelog: Ridelog) -> None:
    assert len(traffic(ridelog, cells=f"{CELL},{CELL}")["cells"]) == 8


@pytest.mark.parametrize("killed", ["city", "redis", "postgres"])
def test_the_city_survives_kill_9(ridelog: Ridelog, rider: str, killed: str) -> None:
    """Afterwards it makes snapshots again, each of them the merge of the log at the vector that it records."""
    ridelog.post(ride(f"{rider}-before", now_ms() - 1_000))
    before = traffic(ridelog)["snapshot"]
    ridelog.kill(killed)
    ridelog.wait_ready()
    events = sum(traffic(ridelog)["fences"]["traffic"])
    ridelog.post(ride(f"{rider}-after", now_ms() - 1_000))

    def goes_on() -> bool:
        found = traffic(ridelog)
        return bool(found["snapshot"] > before and sum(found["fences"]["traffic"]) >= events + 12)

    eventually(goes_on, within_s=90, what="the city has what came afterwards")
    info = ridelog.info
    settings = Settings(data_dir=ridelog.data_dir, postgres_url=info.postgres_url, redis_url=info.redis_url)
    with Backends(settings) as backends:
        newest = PostgresCitySnapshots(backends.engine, 10).newest()
        assert newest is not None
        assert CityOnServers(backends).replayed_digest(newest) == newest.digest
