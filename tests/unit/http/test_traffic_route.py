"""``GET /traffic``: the whole city is encoded once a snapshot, and never in the event loop."""

from __future__ import annotations

import threading
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from domain.features.traffic.steps import cell_at
from infrastructure.http.errors import HANDLERS
from infrastructure.http.traffic import traffic_route
from read_models.city.content import FORMAT, CityContent, TableVector
from read_models.city.snapshot import CitySnapshot

CELL = cell_at(52.52, 13.4)
SEQS = (3,) + (0,) * 63


class CountedSnapshot(CitySnapshot):
    """Counts how often all its cells are asked for, and in which threads."""

    def __init__(self, number: int) -> None:
        vector = TableVector(1, SEQS)
        recent, hours = [(CELL, 2, 60_000, 300_000, 4)], [(hour, 60_000, 300_000) for hour in range(168)]
        headings = [(CELL, 2, 60_000, 300_000)]
        super().__init__(
            number,
            "digest",
            CityContent(
                FORMAT,
                "log",
                1_790_000_000_000,
                vector,
                vector,
                recent,
                headings,
                hours,
                [],
                [],
                [],
                [],
                b"",
                vector,
                [],
                b"",
            ),
        )
        self.threads: list[int] = []

    def cells(self) -> list[tuple[int, int]]:
        self.threads.append(threading.get_ident())
        return super().cells()


def test_the_whole_city_is_encoded_once_a_snapshot_and_outside_the_loop() -> None:
    snapshots = [CountedSnapshot(1), CountedSnapshot(2)]
    loops: list[int] = []
    newest = snapshots[0]

    def read() -> CitySnapshot:
        loops.append(threading.get_ident())
        return newest

    with TestClient(Litestar([traffic_route(read)], exception_handlers=HANDLERS, openapi_config=None)) as http:
        first, again = http.get("/traffic"), http.get("/traffic")
        newest = snapshots[1]
        other = http.get("/traffic")
    assert first.headers["content-type"] == "application/json"
    assert list(first.json()) == ["snapshot", "as_of_ms", "fences", "cells"]
    (row,) = first.json()["cells"]
    assert list(row) == ["cell", "heading", "pace_s_per_km", "index", "riders"]
    assert (row["cell"], row["heading"], row["riders"]) == (f"{CELL:x}", 2, 4)
    assert first.json()["fences"] == {"traffic": list(SEQS), "orders": list(SEQS)}
    assert again.content == first.content
    assert (first.json()["snapshot"], other.json()["snapshot"]) == (1, 2)
    assert [len(snapshot.threads) for snapshot in snapshots] == [1, 1]
    assert not {*snapshots[0].threads, *snapshots[1].threads} & set(loops)


def test_a_cell_that_is_named_twice_is_answered_once() -> None:
    snapshot = CountedSnapshot(1)
    query: dict[str, Any] = {"cells": f"{CELL:x},{CELL:X}"}
    with TestClient(
        Litestar([traffic_route(lambda: snapshot)], exception_handlers=HANDLERS, openapi_config=None)
    ) as http:
        rows = http.get("/traffic", params=query).json()["cells"]
    assert [row["heading"] for row in rows] == list(range(8))
